//! Which file a call is about, and which rules its path meets.
//!
//! A path is looked at when a file is opened, and when one is read or written that was opened
//! before; from then on the file goes by device and inode.

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_NOEXIST},
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_d_path, bpf_get_current_task_btf, bpf_probe_read_kernel},
};
use chaos_ebpf_common::{
    MAX_TEXTS, MOST_DEPTHS,
    event::FileId,
    tables::{PATH_BYTES, PathKey, SET_BITS},
};

use crate::{
    env::Maps,
    maps::{FILES, NAME_BYTES, NAMES, PATHS},
    owners::Owners,
};

/// Where the kernel's structs have what is read here; the loader knows from its type information.
#[unsafe(no_mangle)]
static TASK_FILES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILES_TABLE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_SIZE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_FILES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_PATH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_NUMBER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_SUPER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SUPER_DEVICE: Global<u32> = Global::new(0);

/// Places in [`NAMES`].
const OPENING: u32 = 0;
const ACCESSING: u32 = 1;

/// The file of the `struct file` at this address; [`FileId::NONE`] for a null pointer.
#[inline(always)]
pub fn id(file: u64) -> FileId {
    let inode = read::<u64>(file + FILE_INODE.load() as u64);
    let superblock = read::<u64>(inode + INODE_SUPER.load() as u64);
    FileId {
        device: read::<u32>(superblock + SUPER_DEVICE.load() as u64) as u64,
        inode: read::<u64>(inode + INODE_NUMBER.load() as u64),
    }
}

/// The file behind a descriptor of the current task. Another thread may close it meanwhile; what is
/// read then is no address, or that of another file of the machine.
#[inline(always)]
pub fn behind(descriptor: u32) -> FileId {
    // SAFETY: the helper takes nothing (kernel 5.11).
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let files = read::<u64>(task + TASK_FILES.load() as u64);
    let table = read::<u64>(files + FILES_TABLE.load() as u64);
    if descriptor >= read::<u32>(table + TABLE_SIZE.load() as u64) {
        return FileId::NONE;
    }
    let array = read::<u64>(table + TABLE_FILES.load() as u64);
    id(read::<u64>(array + 8 * descriptor as u64))
}

/// The file, whose path is looked at now for all rule sets that go by paths. `file` is the first argument of the
/// function that the program is attached to, one of those where `bpf_d_path` is allowed (`btf_allowlist_d_path` of
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/trace/bpf_trace.c>).
#[inline(always)]
pub fn opened(file: *mut u8) -> FileId {
    let id = id(file as u64);
    look(file, id, OPENING);
    id
}

/// The file, whose path is looked at if that has not been done for all of them.
#[inline(always)]
pub fn known(file: *mut u8) -> FileId {
    let id = id(file as u64);
    let mut owners = Owners::of_current();
    for _ in 0..MOST_DEPTHS {
        let Some(first) = owners.next() else { break };
        if chaos_knows(first, id.device, id.inode) == 0 {
            look(file, id, ACCESSING);
            break;
        }
    }
    id
}

/// Whether each set from this one on that goes by paths knows the file.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_knows(first: u32, device: u64, inode: u64) -> u32 {
    let file = FileId { device, inode };
    let mut id = first;
    for _ in 0..MAX_TEXTS {
        let Some(set) = Maps.text(id) else { break };
        let knows = || FILES.get(set.id).is_some_and(|files| files.get_ptr(&file).is_some());
        if set.by_path != 0 && !knows() {
            return 0;
        }
        id = set.next;
    }
    1
}

/// Remembers which rules the path meets. A path is what the calling process would call it, from
/// its own root on (`bpf_d_path`, kernel 5.10).
#[inline(always)]
fn look(file: *mut u8, id: FileId, place: u32) {
    let Some(name) = NAMES.get_ptr_mut(place) else { return };
    // SAFETY: the pointer is to a live map value that nobody else uses meanwhile: each place is one
    // program's, and where a task is preempted in it, the kernel leaves the program out for others
    // on that CPU (`__bpf_prog_enter_recur`). The helper gets a `struct path` inside of the file and
    // the size of the buffer.
    let length = unsafe {
        let path = file.add(FILE_PATH.load() as usize);
        bpf_d_path(path.cast(), (&raw mut (*name).path).cast(), NAME_BYTES as u32)
    };
    // SAFETY: as above. A pipe or a socket has no path, and there may be many of them.
    if length <= 0 || unsafe { (*name).path[0] } != b'/' {
        return;
    }
    let mut owners = Owners::of_current();
    for _ in 0..MOST_DEPTHS {
        let Some(first) = owners.next() else { break };
        chaos_remember(first, id.device, id.inode, place);
    }
}

/// Remembers which rules of each set from this one on the path at this place of [`NAMES`] meets.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_remember(first: u32, device: u64, inode: u64, place: u32) -> u32 {
    let Some(name) = NAMES.get_ptr_mut(place) else { return 0 };
    let file = FileId { device, inode };
    let mut id = first;
    for _ in 0..MAX_TEXTS {
        let Some(set) = Maps.text(id) else { break };
        if set.by_path != 0
            && let Some(files) = FILES.get(set.id)
        {
            // SAFETY: as in `look`; a name begins like a key.
            let key = unsafe {
                (*name).bits = SET_BITS + 8 * PATH_BYTES as u32;
                (*name).set = set.id;
                &*name.cast::<Key<PathKey>>()
            };
            let rules = PATHS.get(key).copied().unwrap_or(0);
            // What a set knows of a file stays until that is opened again, whatever another set asks. Where there is no
            // room, the next call looks again.
            let flags = if place == OPENING { BPF_ANY } else { BPF_NOEXIST };
            let _ = files.insert(&file, &rules, flags as u64);
        }
        id = set.next;
    }
    1
}

#[inline(always)]
fn read<T: Copy + Default>(at: u64) -> T {
    let mut value = T::default();
    // SAFETY: the helper takes any address; it fills the value, or zeroes it and fails.
    unsafe {
        let size = size_of::<T>() as u32;
        bpf_probe_read_kernel((&raw mut value).cast(), size, at as *const core::ffi::c_void);
    }
    value
}
