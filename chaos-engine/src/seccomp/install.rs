//! Putting a filter on the calling thread. Everything here is async-signal-safe: it is done between
//! fork and exec.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    libc::{
        self, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        SECCOMP_SET_MODE_FILTER, c_int, c_ulong, sock_fprog,
    },
};

use super::filter::Filter;

/// Puts the filter on the calling thread and what it starts, for good. Needs CAP_SYS_ADMIN, so
/// that set-user-ID programs go on working, which `no_new_privs` would keep from it.
///
/// Where the kernel can (5.19), a caller whose notification has been received is woken by fatal
/// signals only: otherwise any signal would make the call begin anew and count again.
pub fn install(filter: &Filter) -> io::Result<OwnedFd> {
    let program = filter.program();
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let listener = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let descriptor = match seccomp(&program, listener | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => seccomp(&program, listener),
        other => other,
    }?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn seccomp(program: &sock_fprog, flags: c_ulong) -> Result<c_int, Errno> {
    // SAFETY: the kernel reads the program, which outlives the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const *program)
    };
    c_int::try_from(Errno::result(answer)?).map_err(|_| Errno::EBADF)
}

/// Ends the process at once; no filter of ours can hold this up.
pub fn end(code: c_int) -> ! {
    // SAFETY: ends the process and runs nothing of it.
    unsafe { libc::_exit(code) }
}
