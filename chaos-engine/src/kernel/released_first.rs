//! Opens files by numbers above those of most others, so that the kernel releases them first when this process is killed.
//!
//! A process that is killed closes its files in the order of their numbers, and the kernel releases first what was closed
//! last (`task_work_run`). To release a link to an interface or a TAP device takes it one or several grace periods each. So
//! the files on which it depends whether faults act come before these: the table by which programs at interfaces jump, and
//! the links to cgroups and to functions of the kernel.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::resource::{Resource, getrlimit},
};

use super::bpf::own;

/// Where these numbers begin at most: the kernel keeps a few bytes for each number below.
const HIGH: u64 = 1 << 14;

/// Opens a file once more, by such a number.
pub(super) fn released_first(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let number = (limit / 4 * 3).min(HIGH) as i32;
    Ok(own(fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(number))?))
}

/// Gives a file such a number, if there is one left.
pub(super) fn move_up(file: OwnedFd) -> OwnedFd {
    released_first(file.as_fd()).unwrap_or(file)
}
