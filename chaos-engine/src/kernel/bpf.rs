//! Issues bpf(2) where aya has no call for it.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

/// bpf(2). The pointers in `attr` are to memory that outlives the call.
pub(super) fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the callers fill the member that the command reads, with live buffers and their
    // lengths; the kernel writes only to a log or to room for information, if there is some.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command as u32, &raw mut *attr, size_of::<bpf_attr>())
    };
    i32::try_from(answer).ok().filter(|answer| *answer >= 0).ok_or_else(io::Error::last_os_error)
}

/// Arguments of a call, before anything is said.
pub(super) fn no_attr() -> bpf_attr {
    // SAFETY: the union holds integers only, and the kernel asks for zeroes where nothing is said.
    unsafe { std::mem::zeroed() }
}

/// Writes the element of an array at an index. `value` points to as many bytes as an element has.
pub(super) fn set_element(map: BorrowedFd<'_>, index: u32, value: *const u8) -> io::Result<()> {
    let mut attr = no_attr();
    // SAFETY: map elements are the member of the union that the command reads.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = (&raw const index) as u64;
    element.__bindgen_anon_1.value = value as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Takes over a descriptor that the kernel has just made.
pub(super) fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made the descriptor for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
