//! The calling conventions of one machine: what a process calls under which number, and which call
//! of the native table that is.

use std::{collections::BTreeSet, sync::LazyLock};

use chaos_ebpf_common::tables::NUMBERS;
use syscalls::{x86, x86_64};

/// `AUDIT_ARCH_*` of `linux/audit.h`: the machine's ELF number with flags.
pub const ARCH_X86_64: u32 = 0xc000_003e;
pub const ARCH_I386: u32 = 0x4000_0003;

/// `__X32_SYSCALL_BIT`: set in the numbers of x32 callers, whose architecture is x86-64's.
pub const X32_BIT: u32 = 0x4000_0000;

/// Native numbers are below this.
pub const NATIVE_NUMBERS: u32 = NUMBERS as u32;

/// i386 joins the calls on sockets in one, whose first argument says which
/// (`SYS_SOCKET` = 1 and so on, `linux/net.h`).
const SOCKETCALL: &str = "socketcall";
const SOCKET_CALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "sendto",
    "recvfrom",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The same for System V's message queues, semaphores and shared memory (`linux/ipc.h`); the number
/// is in the lower half of the argument.
const IPC: &str = "ipc";
const IPC_CALLS: [(u64, &str); 12] = [
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

/// What else i386 has under other names, apart from the endings that [`i386_name`] takes off.
const I386_NAMES: [(&str, &str); 17] = [
    ("_llseek", "lseek"),
    ("_newselect", "select"),
    ("fadvise64_64", "fadvise64"),
    ("fstatat64", "newfstatat"),
    ("mmap2", "mmap"),
    ("oldfstat", "fstat"),
    ("oldlstat", "lstat"),
    ("oldolduname", "uname"),
    ("oldstat", "stat"),
    ("olduname", "uname"),
    ("sigaction", "rt_sigaction"),
    ("sigpending", "rt_sigpending"),
    ("sigprocmask", "rt_sigprocmask"),
    ("sigsuspend", "rt_sigsuspend"),
    ("ugetrlimit", "getrlimit"),
    ("umount", "umount2"),
    ("waitpid", "wait4"),
];

/// The numbers from 512 on that x32 has for calls whose arguments hold pointers
/// (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_NAMES: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// A call of i386's.
struct Called {
    number: u32,
    name: &'static str,
    native: u32,
}

/// By their numbers.
static I386: LazyLock<Vec<Called>> = LazyLock::new(|| {
    x86::Sysno::iter()
        .filter_map(|call| {
            let name = call.name();
            Some(Called { number: number(call.id())?, name, native: native(i386_name(name))? })
        })
        .collect()
});

/// The number of a call in the native table.
pub fn native(name: &str) -> Option<u32> {
    number(x86_64::Sysno::iter().find(|call| call.name() == name)?.id())
}

/// The name behind a number of the native table.
pub fn name(number: u32) -> Option<&'static str> {
    x86_64::Sysno::new(usize::try_from(number).ok()?).map(|call| call.name())
}

/// Under which numbers a process can make these calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// With [`ARCH_X86_64`], the x32 bit taken off: x32's own numbers too.
    pub native: BTreeSet<u32>,
    /// With [`ARCH_I386`].
    pub i386: BTreeSet<u32>,
}

/// Every number that leads to one of these calls of the native table.
pub fn numbers(calls: &BTreeSet<u32>) -> Numbers {
    let x32 = (NATIVE_NUMBERS..).zip(X32_NAMES).filter_map(|(number, name)| {
        native(name).filter(|call| calls.contains(call)).map(|_| number)
    });
    let own = I386.iter().filter(|called| calls.contains(&called.native));
    let mut i386: BTreeSet<u32> = own.map(|called| called.number).collect();
    let joints = calls.iter().filter_map(|call| joint(name(*call)?));
    i386.extend(joints.filter_map(i386_number));
    Numbers { native: calls.iter().copied().chain(x32).collect(), i386 }
}

/// The native number of what a process calls, where the native table has it.
pub fn native_of(arch: u32, called: u32, first_argument: u64) -> Option<u32> {
    match arch {
        ARCH_X86_64 => {
            let called = called & !X32_BIT;
            match called.checked_sub(NATIVE_NUMBERS) {
                None => Some(called),
                Some(index) => native(X32_NAMES.get(usize::try_from(index).ok()?)?),
            }
        }
        ARCH_I386 => match I386.binary_search_by_key(&called, |called| called.number) {
            Ok(index) => Some(I386[index].native),
            Err(_) => joined(called, first_argument),
        },
        _ => None,
    }
}

/// The call of i386's that stands for several, among them this one of the native table.
pub fn joint(call: &str) -> Option<&'static str> {
    if SOCKET_CALLS.contains(&call) {
        Some(SOCKETCALL)
    } else {
        IPC_CALLS.iter().any(|(_, name)| *name == call).then_some(IPC)
    }
}

/// The names under which i386 has a call of the native table.
pub fn i386_names(call: &str) -> impl Iterator<Item = &'static str> {
    let native = native(call);
    I386.iter().filter(move |called| Some(called.native) == native).map(|called| called.name)
}

/// What a call of i386's that stands for several does.
fn joined(called: u32, first_argument: u64) -> Option<u32> {
    if Some(called) == i386_number(SOCKETCALL) {
        // An i386 argument has 32 bits.
        let which = usize::try_from(first_argument & 0xffff_ffff).ok()?.checked_sub(1)?;
        return native(SOCKET_CALLS.get(which)?);
    }
    if Some(called) == i386_number(IPC) {
        let which = first_argument & 0xffff;
        return native(IPC_CALLS.iter().find(|(number, _)| *number == which)?.1);
    }
    None
}

fn i386_number(name: &str) -> Option<u32> {
    number(x86::Sysno::iter().find(|call| call.name() == name)?.id())
}

/// The native table's name for a call of i386's: `fcntl64` is fcntl and `ppoll_time64` is ppoll,
/// while `pread64` has its name in both.
fn i386_name(name: &str) -> &str {
    if native(name).is_some() {
        return name;
    }
    if let Some((_, native)) = I386_NAMES.iter().find(|(other, _)| *other == name) {
        return native;
    }
    ["_time64", "64", "32"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

fn number(id: i32) -> Option<u32> {
    u32::try_from(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(names: &[&str]) -> BTreeSet<u32> {
        names.iter().map(|name| native(name).unwrap()).collect()
    }

    /// Numbers of `arch/x86/entry/syscalls/syscall_{32,64}.tbl`.
    #[test]
    fn every_way_to_call_is_listed() {
        let mmap = numbers(&calls(&["mmap"]));
        assert_eq!((mmap.native, mmap.i386), (BTreeSet::from([9]), BTreeSet::from([90, 192])));
        let readv = numbers(&calls(&["readv"]));
        assert_eq!((readv.native, readv.i386), (BTreeSet::from([19, 515]), BTreeSet::from([145])));
        let connect = numbers(&calls(&["connect"]));
        assert_eq!(connect.i386, BTreeSet::from([102, 362]));
        let semop = numbers(&calls(&["semop"]));
        assert_eq!(semop.i386, BTreeSet::from([117]));
        let stat = numbers(&calls(&["fstat", "clock_gettime", "chown"]));
        assert_eq!(stat.i386, BTreeSet::from([28, 108, 197, 182, 212, 265, 403]));
    }

    #[test]
    fn what_is_called_is_found_by_its_native_number() {
        let openat = native("openat");
        assert_eq!(native_of(ARCH_X86_64, 257, 0), openat);
        assert_eq!(native_of(ARCH_X86_64, 257 | X32_BIT, 0), openat);
        assert_eq!(native_of(ARCH_I386, 295, 0), openat);
        assert_eq!(native_of(ARCH_X86_64, 515 | X32_BIT, 0), native("readv"));
        assert_eq!(native_of(ARCH_X86_64, 600, 0), None);
        assert_eq!(native_of(ARCH_I386, 102, 3), native("connect"));
        assert_eq!(native_of(ARCH_I386, 102, 0), None);
        assert_eq!(native_of(ARCH_I386, 102, 21), None);
        assert_eq!(native_of(ARCH_I386, 117, 0x1_0015), native("shmat"));
        assert_eq!(native_of(0xc000_00b7, 257, 0), None);
    }

    #[test]
    fn numbers_and_their_meaning_agree() {
        for call in x86_64::Sysno::iter().filter_map(|call| number(call.id())) {
            let Numbers { native, i386 } = numbers(&BTreeSet::from([call]));
            for number in native {
                assert_eq!(native_of(ARCH_X86_64, number, 0), Some(call), "{number}");
            }
            for number in i386 {
                let socket = SOCKET_CALLS.iter().position(|socket| name(call) == Some(socket));
                let ipc = IPC_CALLS.iter().find(|(_, ipc)| name(call) == Some(ipc));
                let which = socket.map_or(ipc.map_or(0, |ipc| ipc.0), |index| index as u64 + 1);
                assert_eq!(native_of(ARCH_I386, number, which), Some(call), "{number}");
            }
        }
    }
}
