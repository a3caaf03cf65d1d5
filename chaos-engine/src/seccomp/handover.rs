//! How the listener gets from the child of `run` to the supervisor.
//!
//! From the moment at which the child has its filter, a call of its may wait for an answer; so it
//! hands the listener over without any call, in the memory that it shares with the supervisor, which
//! fetches it with pidfd_getfd(2) (kernel 5.6).

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc::{self, c_int, c_uint, pid_t},
};

use super::{install, memory};

/// How long child and supervisor wait for each other.
const PATIENCE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_micros(200);

const WAITING: u32 = 0;
const OFFERED: u32 = 1;
const TAKEN: u32 = 2;
const REFUSED: u32 = 3;

/// The exit code of a child that found no supervisor.
const ABANDONED: c_int = 126;

/// Where the child leaves the listener. Zeroed memory is one that nothing was left in.
#[repr(C)]
pub struct Handover {
    state: AtomicU32,
    pid: AtomicI32,
    descriptor: AtomicI32,
    padding: AtomicU32,
    /// Holds its own address in the child, disguised; see [`Child::has_begun`].
    mark: AtomicU64,
}

/// Makes an address a number that no program has there by chance.
const DISGUISE: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the child left.
#[derive(Debug)]
pub struct Offered {
    pub child: Child,
    pub listener: OwnedFd,
}

/// The child of `run`.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    pub pid: pid_t,
    /// Where it has the mark in its memory until it executes the command.
    mark: usize,
}

impl Child {
    /// Whether the child executes the command already: until then its calls are ours, not the
    /// target's. Reads its memory, which may take for ever.
    pub fn has_begun(&self) -> bool {
        let mut bytes = [0; 8];
        let read = memory::read(self.pid, self.mark, &mut bytes).ok();
        read != Some(8) || u64::from_ne_bytes(bytes) != self.mark as u64 ^ DISGUISE
    }
}

impl Handover {
    /// In the child, between fork and exec: offers the listener and waits for the supervisor, awake
    /// and without calls. Allocates nothing. The process ends when no supervisor comes, as it could
    /// not go on.
    pub fn offer(&self, pid: pid_t, listener: c_int) {
        self.pid.store(pid, Ordering::Relaxed);
        self.descriptor.store(listener, Ordering::Relaxed);
        // It is there only until exec.
        let place = std::ptr::from_ref(&self.mark).addr() as u64;
        self.mark.store(place ^ DISGUISE, Ordering::Relaxed);
        self.state.store(OFFERED, Ordering::Release);
        // The clock is read in user space (vDSO).
        let start = Instant::now();
        loop {
            match self.state.load(Ordering::Acquire) {
                TAKEN => return,
                REFUSED => install::end(ABANDONED),
                _ if start.elapsed() > PATIENCE => install::end(ABANDONED),
                _ => std::hint::spin_loop(),
            }
        }
    }

    /// In the supervisor: waits for the child and takes the listener. `None` when no child came.
    pub fn take(&self) -> io::Result<Option<Offered>> {
        let start = Instant::now();
        while self.state.load(Ordering::Acquire) == WAITING {
            if start.elapsed() > PATIENCE {
                self.state.store(REFUSED, Ordering::Release);
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
        let pid = self.pid.load(Ordering::Relaxed);
        match fetch(pid, self.descriptor.load(Ordering::Relaxed)) {
            Ok(listener) => {
                let place = self.mark.load(Ordering::Relaxed) ^ DISGUISE;
                Ok(Some(Offered { child: Child { pid, mark: place as usize }, listener }))
            }
            Err(errno) => {
                self.state.store(REFUSED, Ordering::Release);
                Err(errno.into())
            }
        }
    }

    /// Lets the child go on: somebody answers now.
    pub fn accept(&self) {
        self.state.store(TAKEN, Ordering::Release);
    }

    /// Whether the child was let go on.
    pub fn is_accepted(&self) -> bool {
        self.state.load(Ordering::Acquire) == TAKEN
    }
}

/// A copy of another process's descriptor.
fn fetch(pid: pid_t, descriptor: c_int) -> Result<OwnedFd, Errno> {
    copy_of(&pidfd(pid)?, descriptor)
}

/// A copy of a descriptor of this process (`pidfd_getfd(2)`, kernel 5.6).
pub fn copy_of(process: &OwnedFd, descriptor: c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: three integers.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) };
    owned(Errno::result(copy)?)
}

/// A descriptor that stands for a process (kernel 5.3).
pub fn pidfd(pid: pid_t) -> Result<OwnedFd, Errno> {
    open_pidfd(pid, 0)
}

/// A descriptor that stands for the process of a thread, as far as signals go: that of its first
/// thread, or from kernel 6.9 on of any. EINVAL where the process itself has to be named.
pub fn pidfd_of_thread(thread: pid_t) -> Result<OwnedFd, Errno> {
    pidfd(thread).or_else(|_| open_pidfd(thread, libc::PIDFD_THREAD))
}

fn open_pidfd(pid: pid_t, flags: c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: two integers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    owned(Errno::result(process)?)
}

fn owned(descriptor: i64) -> Result<OwnedFd, Errno> {
    let descriptor = c_int::try_from(descriptor).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
