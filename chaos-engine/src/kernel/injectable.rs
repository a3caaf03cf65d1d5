//! The functions that the kernel lets fail: those marked `ALLOW_ERROR_INJECTION`, with every entry of
//! a system call among them that is more than a stub.
//! <https://docs.kernel.org/fault-injection/fault-injection.html>

use std::{
    collections::BTreeSet,
    ffi::CStr,
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::null,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

const LIST: &CStr = c"error_injection/list";

/// `FSCONFIG_CMD_CREATE` of `linux/mount.h`.
const CREATE: libc::c_uint = 6;

/// Their names. An error where there is no such list, for want of debugfs or of
/// CONFIG_FUNCTION_ERROR_INJECTION: newer kernels let the entries of calls be modified without.
pub(super) fn injectable() -> io::Result<BTreeSet<String>> {
    let debugfs = debugfs()?;
    let list = openat(&debugfs, LIST, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(list).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// debugfs as a mount of our own that nobody sees and that ends with the descriptor (kernel 5.2): it
/// need not be mounted anywhere.
fn debugfs() -> io::Result<OwnedFd> {
    // SAFETY: the name is a string that lives.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"debugfs".as_ptr(), 1) };
    let context = own(context)?;
    let (fd, none) = (context.as_raw_fd(), null::<u8>());
    // SAFETY: creating takes neither key nor value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, fd, CREATE, none, none, 0) };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: integers only; 1 stands for close-on-exec.
    own(unsafe { libc::syscall(libc::SYS_fsmount, fd, 1, 0) })
}

fn own(answer: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(answer).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made the descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
