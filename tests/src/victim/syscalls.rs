//! Many system calls, each by itself and again and again.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr::null,
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use chaos_tests::{
    job::Syscalls,
    tally::{Attempts, Lane},
};
use nix::{
    fcntl::{OFlag, open},
    libc::{self, c_int, c_long},
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
        stat::Mode,
    },
};

use crate::stage::Stage;

pub fn repeat(options: &Syscalls, stage: &Stage) -> Result<Attempts> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let mut calls: Vec<Attempt> = options
        .calls
        .iter()
        .map(|name| prepare(name, directory.path()).with_context(|| format!("prepare {name}")))
        .collect::<Result<_>>()?;
    let mut lanes = vec![Lane::default(); calls.len()];
    let go = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing but store a flag.
    unsafe { sigaction(Signal::SIGUSR1, &go) }.context("handle SIGUSR1")?;
    stage.ready(None)?;
    while !GO.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(1));
    }
    for (call, lane) in calls.iter_mut().zip(&mut lanes) {
        for _ in 0..options.count {
            lane.record(&call());
        }
    }
    raise(Signal::SIGSTOP).context("stop")?;
    Ok(Attempts { lanes })
}

/// SIGUSR1 has come.
static GO: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: c_int) {
    GO.store(true, Ordering::Relaxed);
}

type Attempt = Box<dyn FnMut() -> io::Result<()>>;

/// One system call by its number, with what it needs made ready.
///
/// # Safety
/// The arguments are what the call expects, and what they point to outlives it.
unsafe fn call(number: c_long, arguments: [c_long; 6]) -> io::Result<c_long> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: promised by the caller.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn close(fd: c_long) {
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

fn unlink(path: &CString, flags: c_long) {
    // SAFETY: the path is a string that lives.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), flags) };
}

fn make_directory(path: &CString) {
    // SAFETY: the path is a string that lives.
    unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), 0o700) };
}

fn make_file(path: &CString) {
    let how: [u64; 3] = [(libc::O_CREAT | libc::O_WRONLY) as u64, 0o600, 0];
    // SAFETY: the path is a string that lives, and `how` is a `struct open_how`.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, 24)
    };
    close(fd);
}

/// Makes `name` callable; whatever it leaves behind, the next attempt finds as the first one did.
fn prepare(name: &str, directory: &Path) -> Result<Attempt> {
    let path = |file: &str| -> Result<CString> {
        Ok(CString::new(directory.join(format!("{name}.{file}")).as_os_str().as_bytes())?)
    };
    let (file, other, folder) = (path("file")?, path("other")?, path("folder")?);
    make_file(&file);
    make_directory(&folder);
    let open_file = || -> Result<OwnedFd> {
        open(file.as_c_str(), OFlag::O_RDWR, Mode::empty()).context("open the file")
    };
    let at = c_long::from(libc::AT_FDCWD);
    let text = |path: &CString| path.as_ptr() as c_long;
    Ok(match name {
        "read" | "pread64" | "write" | "pwrite64" => {
            let number = match name {
                "read" => libc::SYS_read,
                "pread64" => libc::SYS_pread64,
                "write" => libc::SYS_write,
                _ => libc::SYS_pwrite64,
            };
            let fd = open_file()?;
            let mut buffer = [b'x'; 8];
            Box::new(move || {
                let buffer = buffer.as_mut_ptr() as c_long;
                // SAFETY: the buffer has the length that is given.
                unsafe { call(number, [fd.as_raw_fd().into(), buffer, 8, 0, 0, 0]) }.map(drop)
            })
        }
        "readv" | "preadv" | "preadv2" | "writev" | "pwritev" | "pwritev2" => {
            let number = match name {
                "readv" => libc::SYS_readv,
                "preadv" => libc::SYS_preadv,
                "preadv2" => libc::SYS_preadv2,
                "writev" => libc::SYS_writev,
                "pwritev" => libc::SYS_pwritev,
                _ => libc::SYS_pwritev2,
            };
            let fd = open_file()?;
            let mut buffer = [b'x'; 8];
            Box::new(move || {
                let vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
                let vector = &raw const vector as c_long;
                // SAFETY: one vector, which covers the buffer.
                unsafe { call(number, [fd.as_raw_fd().into(), vector, 1, 0, 0, 0]) }.map(drop)
            })
        }
        "getdents64" => {
            let fd = open(directory, OFlag::O_DIRECTORY, Mode::empty()).context("open")?;
            let mut buffer = vec![0_u8; 4096];
            Box::new(move || {
                let (fd, buffer) = (c_long::from(fd.as_raw_fd()), buffer.as_mut_ptr() as c_long);
                // SAFETY: the buffer has the length that is given.
                unsafe { call(libc::SYS_getdents64, [fd, buffer, 4096, 0, 0, 0]) }.map(drop)
            })
        }
        "fallocate" | "ftruncate" | "fchmod" | "fsync" | "fdatasync" | "flock" | "fcntl"
        | "ioctl" => {
            let (number, arguments) = match name {
                "fallocate" => (libc::SYS_fallocate, [0, 0, 8]),
                "ftruncate" => (libc::SYS_ftruncate, [8, 0, 0]),
                "fchmod" => (libc::SYS_fchmod, [0o600, 0, 0]),
                "fsync" => (libc::SYS_fsync, [0, 0, 0]),
                "fdatasync" => (libc::SYS_fdatasync, [0, 0, 0]),
                "flock" => (libc::SYS_flock, [libc::LOCK_SH.into(), 0, 0]),
                "fcntl" => (libc::SYS_fcntl, [libc::F_GETFD.into(), 0, 0]),
                _ => (libc::SYS_ioctl, [libc::FIOCLEX as c_long, 0, 0]),
            };
            let fd = open_file()?;
            let [a, b, c] = arguments;
            Box::new(move || {
                // SAFETY: integers only.
                unsafe { call(number, [fd.as_raw_fd().into(), a, b, c, 0, 0]) }.map(drop)
            })
        }
        "open" | "openat" | "creat" => Box::new(move || {
            let arguments = match name_of(&file) {
                "open" => (libc::SYS_open, [text(&file), 0, 0, 0, 0, 0]),
                "openat" => (libc::SYS_openat, [at, text(&file), 0, 0, 0, 0]),
                _ => (libc::SYS_creat, [text(&file), 0o600, 0, 0, 0, 0]),
            };
            // SAFETY: the path is a string that lives.
            unsafe { call(arguments.0, arguments.1) }.map(close)
        }),
        "mmap" => Box::new(|| {
            let flags = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, of which nobody knows.
            let page = unsafe { call(libc::SYS_mmap, [0, 4096, 0, flags, -1, 0]) }?;
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_munmap, page, 4096) };
            Ok(())
        }),
        "mprotect" => {
            // SAFETY: a new mapping, of which nobody knows.
            let page = unsafe {
                let flags = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                call(libc::SYS_mmap, [0, 4096, 0, flags, -1, 0])?
            };
            Box::new(move || {
                // SAFETY: nobody uses the page.
                unsafe { call(libc::SYS_mprotect, [page, 4096, 1, 0, 0, 0]) }.map(drop)
            })
        }
        "mkdir" => Box::new(move || {
            // SAFETY: the path is a string that lives.
            unsafe { call(libc::SYS_mkdir, [text(&other), 0o700, 0, 0, 0, 0]) }?;
            unlink(&other, libc::AT_REMOVEDIR.into());
            Ok(())
        }),
        "rmdir" => Box::new(move || {
            make_directory(&folder);
            // SAFETY: the path is a string that lives.
            unsafe { call(libc::SYS_rmdir, [text(&folder), 0, 0, 0, 0, 0]) }.map(drop)
        }),
        "unlink" => Box::new(move || {
            make_file(&file);
            // SAFETY: the path is a string that lives.
            unsafe { call(libc::SYS_unlink, [text(&file), 0, 0, 0, 0, 0]) }.map(drop)
        }),
        "rename" | "renameat2" => {
            let is_plain = name == "rename";
            Box::new(move || {
                make_file(&file);
                let (from, to) = (text(&file), text(&other));
                let (number, arguments) = if is_plain {
                    (libc::SYS_rename, [from, to, 0, 0, 0, 0])
                } else {
                    (libc::SYS_renameat2, [at, from, at, to, 0, 0])
                };
                // SAFETY: the paths are strings that live.
                unsafe { call(number, arguments) }.map(drop)
            })
        }
        "link" | "linkat" | "symlink" => {
            let number = match name {
                "link" => libc::SYS_link,
                "linkat" => libc::SYS_linkat,
                _ => libc::SYS_symlink,
            };
            Box::new(move || {
                let (from, to) = (text(&file), text(&other));
                let arguments = if number == libc::SYS_linkat {
                    [at, from, at, to, 0, 0]
                } else {
                    [from, to, 0, 0, 0, 0]
                };
                // SAFETY: the paths are strings that live.
                unsafe { call(number, arguments) }?;
                unlink(&other, 0);
                Ok(())
            })
        }
        "readlink" => {
            std::os::unix::fs::symlink("nowhere", other.to_str()?).context("make a link")?;
            let mut buffer = [0_u8; 64];
            Box::new(move || {
                let to = buffer.as_mut_ptr() as c_long;
                // SAFETY: the path is a string that lives, the buffer has the length given.
                unsafe { call(libc::SYS_readlink, [text(&other), to, 64, 0, 0, 0]) }.map(drop)
            })
        }
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" => {
            let fd = open_file()?;
            let which = name.to_owned();
            // More than any of the structures that are written.
            let mut buffer = [0_u64; 64];
            Box::new(move || {
                let to = buffer.as_mut_ptr() as c_long;
                let path = text(&file);
                let (number, arguments) = match which.as_str() {
                    "stat" => (libc::SYS_stat, [path, to, 0, 0, 0, 0]),
                    "lstat" => (libc::SYS_lstat, [path, to, 0, 0, 0, 0]),
                    "fstat" => (libc::SYS_fstat, [fd.as_raw_fd().into(), to, 0, 0, 0, 0]),
                    "newfstatat" => (libc::SYS_newfstatat, [at, path, to, 0, 0, 0]),
                    _ => (libc::SYS_statx, [at, path, 0, libc::STATX_ALL.into(), to, 0]),
                };
                // SAFETY: the path is a string that lives, the buffer is large enough.
                unsafe { call(number, arguments) }.map(drop)
            })
        }
        "chmod" | "truncate" | "utimensat" => {
            let number = match name {
                "chmod" => libc::SYS_chmod,
                "truncate" => libc::SYS_truncate,
                _ => libc::SYS_utimensat,
            };
            Box::new(move || {
                let arguments = if number == libc::SYS_utimensat {
                    [at, text(&file), null::<u8>() as c_long, 0, 0, 0]
                } else {
                    [text(&file), 0o600, 0, 0, 0, 0]
                };
                // SAFETY: the path is a string that lives.
                unsafe { call(number, arguments) }.map(drop)
            })
        }
        "recvfrom" | "getsockname" => socket_call(name)?,
        _ => bail!("nobody has written how to make it"),
    })
}

/// The call that a file was made for.
fn name_of(file: &CString) -> &str {
    let name = file.to_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

fn socket_call(name: &str) -> Result<Attempt> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::empty())
            .context("make a pair of sockets")?;
    let which = name.to_owned();
    let mut buffer = [0_u8; 128];
    Ok(Box::new(move || {
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 1 };
        // SAFETY: all zeroes is a message without address, data and control.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        let message = &raw mut message as c_long;
        let (from, to) = (c_long::from(ours.as_raw_fd()), c_long::from(theirs.as_raw_fd()));
        let buffer = buffer.as_mut_ptr() as c_long;
        let mut length = 128_u32;
        // SAFETY: buffer and message live, with their lengths.
        unsafe {
            match which.as_str() {
                "recvfrom" => {
                    libc::syscall(libc::SYS_sendmsg, from, message, 0);
                    let dont_wait = c_long::from(libc::MSG_DONTWAIT);
                    if let Err(error) = call(libc::SYS_recvfrom, [to, buffer, 1, dont_wait, 0, 0]) {
                        libc::syscall(libc::SYS_recvmsg, to, message, libc::MSG_DONTWAIT);
                        return Err(error);
                    }
                }
                _ => {
                    let length = &raw mut length as c_long;
                    call(libc::SYS_getsockname, [from, buffer, length, 0, 0, 0])?;
                }
            }
        }
        Ok(())
    }))
}
