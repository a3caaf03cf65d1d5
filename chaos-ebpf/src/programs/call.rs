//! System calls of the target: at their entry, or at the security function that they pass.
//!
//! These are `fmod_ret` programs (kernel 5.7): the kernel runs them in front of a function, and if
//! one returns something other than 0, the function is left out and that is its result.
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/verifier.c> `check_attach_modify_return`
//!
//! A security function that a BPF security module may answer, too, is answered by an `lsm` program (kernel 5.7,
//! <https://docs.kernel.org/bpf/prog_lsm.html>): the kernel never leaves that out, as it does a `fmod_ret` program while
//! another task is preempted in it (kernel 6.2). Where a path has to be asked for, a `fmod_ret` program does that before.
//!
//! Each is loaded once for every function, with constants of its own.

use core::{hint::black_box, ptr::read_volatile};

use aya_ebpf::{
    Global,
    bindings::{pt_regs, task_struct},
    helpers::generated::{
        bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_send_signal, bpf_task_pt_regs,
    },
};
use chaos_ebpf_common::{
    MOST_DEPTHS,
    event::{Event, FileId},
    gate::{Verdict, confirm, decide},
    object::{ENTRY_BOTH, ENTRY_NATIVE},
    rule::Action,
    tables::{
        COMPAT as COMPAT_ENTRIES, GUARDED, IOCTL, IPC, JOINED, NO_CALL, NUMBERS, SOCKETCALL,
        by_command, is_copying,
    },
};

use super::{LAST_ERRNO, file};
use crate::{env::Maps, maps::CALLERS, owners::Owners};

/// Whose entry the function is.
#[unsafe(no_mangle)]
static ENTRY_CALLERS: Global<u32> = Global::new(ENTRY_NATIVE);

/// The x86-64 number of each call of 32-bit callers.
#[unsafe(no_mangle)]
static COMPAT: Global<[u16; COMPAT_ENTRIES]> = Global::new([NO_CALL; COMPAT_ENTRIES]);

/// Where `task_struct` has its two pointers to credentials, `real_cred` and behind it `cred`.
#[unsafe(no_mangle)]
static TASK_CREDENTIALS: Global<u32> = Global::new(0);

const WORDS: usize = NUMBERS as usize / 64;

/// The calls that pass the security function, one bit each; of others it is not asked.
#[unsafe(no_mangle)]
static GUARD_CALLS: Global<[u64; WORDS]> = Global::new([0; WORDS]);

/// Whether the program looks at paths (1): not where the kernel lets no program ask for one.
#[unsafe(no_mangle)]
static LOOKS: Global<u32> = Global::new(1);

/// Whether it decides (1), or does nothing but remember paths for another program.
#[unsafe(no_mangle)]
static DECIDES: Global<u32> = Global::new(1);

/// The call that an io_uring request at this security function counts as.
#[unsafe(no_mangle)]
static GUARD_URING: Global<u32> = Global::new(NO_CALL as u32);

/// Bit of the numbers of x32 callers (`arch/x86/include/uapi/asm/unistd.h`).
const X32: u64 = 0x4000_0000;
const IO_URING_ENTER: u16 = 426;
const READ: u16 = 0;
const WRITE: u16 = 1;

/// `MAY_WRITE` of `include/linux/fs.h`.
const MAY_WRITE: u32 = 2;

/// `thread_info.status`, at the head of `task_struct`: flags and syscall_work come before it, from
/// 5.11 on. <https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/asm/thread_info.h>
const STATUS: usize = 16;
/// The running call was made by the 32-bit way in.
const TS_COMPAT: u32 = 2;

const SIGKILL: u32 = 9;
const EINTR: u32 = 4;

/// `long __x64_sys_NAME(const struct pt_regs *)`, `__ia32_sys_*` of 32-bit callers, and `__do_sys_*`
/// of both.
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry")]
pub extern "C" fn call_entry(ctx: *const u64) -> i32 {
    if !Owners::any() {
        return 0;
    }
    // SAFETY: the context holds the function's arguments; the verifier knows the type of this one.
    let regs = unsafe { *ctx } as *const pt_regs;
    let is_compat = match ENTRY_CALLERS.load() {
        ENTRY_NATIVE => false,
        ENTRY_BOTH => {
            // SAFETY: the helper takes nothing (kernel 5.11).
            let task: *mut task_struct = unsafe { bpf_get_current_task_btf() };
            is_by_32_bit(task)
        }
        _ => true,
    };
    let number = number(regs, is_compat);
    if number >= NUMBERS {
        return 0;
    }
    // Only calls whose first argument is a descriptor are asked for by a path here.
    let file = if asks_for_paths() {
        // SAFETY: as above.
        let first = unsafe { if is_compat { (*regs).rbx } else { (*regs).rdi } };
        file::behind(first as u32)
    } else {
        FileId::NONE
    };
    answer(&Event::call(by_command(number, second_argument(regs, is_compat)), file))
}

/// `int security_NAME(…)`
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry")]
pub extern "C" fn call_guard(_ctx: *const u64) -> i32 {
    match own_task() {
        Some(task) => guard(task, FileId::NONE, GUARD_URING.load() as u16),
        None => 0,
    }
}

/// `int security_NAME(struct file *, …)`; there is no file where memory of none is mapped.
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry")]
pub extern "C" fn call_guard_file(ctx: *const u64) -> i32 {
    let Some(task) = own_task() else { return 0 };
    // SAFETY: the context holds the function's arguments.
    let file = unsafe { *ctx };
    let file = if asks_for_paths() { file::id(file) } else { FileId::NONE };
    guard(task, file, GUARD_URING.load() as u16)
}

/// `int security_file_open(struct file *)`
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry")]
pub extern "C" fn call_guard_open(ctx: *const u64) -> i32 {
    let Some(task) = own_task() else { return 0 };
    // SAFETY: the context holds the function's arguments.
    let file = unsafe { *ctx } as *mut u8;
    // Whatever call it is: the path is remembered from here on.
    let file = if !asks_for_paths() {
        FileId::NONE
    } else if LOOKS.load() != 0 {
        file::opened(file)
    } else {
        file::id(file as u64)
    };
    if DECIDES.load() == 0 {
        return 0;
    }
    guard(task, file, GUARD_URING.load() as u16)
}

/// `int security_file_permission(struct file *, int mask)`
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry")]
pub extern "C" fn call_guard_access(ctx: *const u64) -> i32 {
    let Some(task) = own_task() else { return 0 };
    // SAFETY: the context holds the function's arguments; the second one is an int.
    let (file, mask) = unsafe { (*ctx as *mut u8, *ctx.add(1) as u32) };
    let file = if !asks_for_paths() {
        FileId::NONE
    } else if LOOKS.load() != 0 {
        file::known(file)
    } else {
        file::id(file as u64)
    };
    if DECIDES.load() == 0 {
        return 0;
    }
    let plain = if mask & MAY_WRITE != 0 { WRITE } else { READ };
    let Call { number, second_argument } = call_under_way(task, plain);
    if number >= NUMBERS || !is_guarded(number) {
        return 0;
    }
    // What copies passes for both of its files, and has read the one and written the other.
    let number = match by_command(number, second_argument) {
        copying if is_copying(copying) => plain,
        // It was asked about as a whole.
        IOCTL => return 0,
        number => number,
    };
    answer(&Event::call(GUARDED + number, file))
}

/// The current task, if it is a target's and at work for itself.
#[inline(always)]
fn own_task() -> Option<*mut task_struct> {
    if !Owners::any() {
        return None;
    }
    // SAFETY: the helper takes nothing (kernel 5.11).
    let task: *mut task_struct = unsafe { bpf_get_current_task_btf() };
    if is_nested(task) { None } else { Some(task) }
}

/// Asks the gate if the call under way is one that the function guards. `uring` is the call that
/// io_uring stands for here.
#[inline(always)]
fn guard(task: *mut task_struct, file: FileId, uring: u16) -> i32 {
    let Call { number, .. } = call_under_way(task, uring);
    if number >= NUMBERS || !is_guarded(number) {
        return 0;
    }
    answer(&Event::call(GUARDED + number, file))
}

/// A call of a task.
struct Call {
    /// On x86-64, or [`NO_CALL`].
    number: u16,
    second_argument: u64,
}

/// The call that the current task is in. `uring` is the one that io_uring stands for.
#[inline(always)]
fn call_under_way(task: *mut task_struct, uring: u16) -> Call {
    // SAFETY: the current task and its registers (5.15) are valid while it runs here.
    let regs = unsafe { bpf_task_pt_regs(task) as *const pt_regs };
    // SAFETY: as above. A worker of io_uring has no user instruction to return to
    // (`copy_thread`).
    let is_worker = unsafe { (*regs).rip } == 0;
    let is_compat = is_by_32_bit(task);
    let mut number = number(regs, is_compat);
    if is_worker || number == IO_URING_ENTER {
        number = uring;
    }
    Call { number, second_argument: second_argument(regs, is_compat) }
}

#[inline(always)]
fn second_argument(regs: *const pt_regs, is_compat: bool) -> u64 {
    // SAFETY: the caller has the registers from the kernel.
    unsafe { if is_compat { (*regs).rcx } else { (*regs).rsi } }
}

/// Whether a rule in force, of whichever target, goes by a path.
#[inline(always)]
fn asks_for_paths() -> bool {
    CALLERS.get(0).is_some_and(|callers| callers.by_path != 0)
}

/// Whether a file system is at work on behalf of the call: overlayfs makes each call once more on
/// the file below, with the credentials of whoever mounted it. The call itself was asked about
/// before. <https://docs.kernel.org/filesystems/overlayfs.html#permission-model>
#[inline(always)]
fn is_nested(task: *const task_struct) -> bool {
    let mut credentials = [0_u64; 2];
    let at = TASK_CREDENTIALS.load() as usize;
    // SAFETY: the helper fills the array, or zeroes it and fails; it takes any address.
    unsafe {
        let from = task.cast::<u8>().wrapping_add(at).cast();
        bpf_probe_read_kernel((&raw mut credentials).cast(), 16, from);
    }
    credentials[0] != credentials[1]
}

#[inline(always)]
fn is_guarded(number: u16) -> bool {
    let (word, bit) = (number as usize / 64, number as usize % 64);
    // Bounded where the verifier can see it: the compiler, which knows the bound, would leave it
    // to a register that is long gone.
    let word = black_box(word) % WORDS;
    // SAFETY: the word is inside; volatile as the loader fills the table.
    let word = unsafe { read_volatile((&raw const GUARD_CALLS).cast::<u64>().add(word)) };
    word >> bit & 1 == 1
}

/// Whether the call under way came by the 32-bit way in.
#[inline(always)]
fn is_by_32_bit(task: *const task_struct) -> bool {
    // SAFETY: the current task is valid while it runs here; `status` is a field of its
    // `thread_info`, which the verifier checks.
    let status = unsafe { *task.cast::<u8>().add(STATUS).cast::<u32>() };
    status & TS_COMPAT != 0
}

/// The x86-64 number of the call under way, or [`NO_CALL`].
#[inline(always)]
fn number(regs: *const pt_regs, is_compat: bool) -> u16 {
    // SAFETY: the caller has the registers from the kernel.
    let number = unsafe { (*regs).orig_rax };
    if !is_compat {
        let number = number & !X32;
        return if number < NUMBERS as u64 { number as u16 } else { NO_CALL };
    }
    let mut number = number as u32;
    if number == SOCKETCALL as u32 || number == IPC as u32 {
        // SAFETY: as above; the first argument of a 32-bit call is in ebx.
        let mut which = unsafe { (*regs).rbx } as u32;
        let mut first = NUMBERS as u32;
        if number == IPC as u32 {
            // The upper half is the version of the arguments.
            which &= 0xffff;
            first += JOINED as u32;
        }
        if which >= JOINED as u32 {
            return NO_CALL;
        }
        number = first + which;
    }
    let number = black_box(number);
    if number >= COMPAT_ENTRIES as u32 {
        return NO_CALL;
    }
    // SAFETY: the index has just been bounded; volatile as the loader fills the table.
    unsafe { read_volatile((&raw const COMPAT).cast::<u16>().add(number as usize)) }
}

/// Asks the targets of the caller about a call, until one ends it. Returns 0 to let it go on, or the negative errno
/// it ends with.
#[inline(always)]
fn answer(event: &Event) -> i32 {
    let mut owners = Owners::of_current();
    for _ in 0..MOST_DEPTHS {
        let Some(first) = owners.next() else { break };
        let errno = chaos_answer(first, event.call as u32, event.file.device, event.file.inode);
        // In a range that the verifier sees: security modules may return errnos alone (kernel 6.12).
        let errno = black_box(errno) & 0xff;
        if errno != 0 {
            return -(errno as i32);
        }
    }
    0
}

/// Asks the gate for one target. Returns the errno that the call ends with, or 0. A function that the verifier
/// checks once, on its own (kernel 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_answer(first: u32, call: u32, device: u64, inode: u64) -> u32 {
    let event = Event::call(call as u16, FileId { device, inode });
    let verdict = decide(&Maps, first, &event);
    if verdict == Verdict::PASS {
        return 0;
    }
    let errno = if verdict.is(Action::Fail) && verdict.errno <= LAST_ERRNO {
        verdict.errno
    // SAFETY: the helper takes a signal for the current task (kernel 5.3) and refuses init.
    } else if verdict.is(Action::Kill) && unsafe { bpf_send_signal(SIGKILL) } == 0 {
        // Nobody lives to see it; the call must not take effect any more.
        EINTR
    } else {
        0
    };
    confirm(&Maps, &event, &verdict, errno != 0);
    errno
}
