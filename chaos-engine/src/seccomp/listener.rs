//! The descriptor through which a filter tells of calls (`seccomp_unotify(2)`, kernel 5.0; letting
//! a call go on is from 5.5).

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    libc::{
        self, SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
        SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FLAG_CONTINUE, seccomp_data,
        seccomp_notif, seccomp_notif_resp, seccomp_notif_sizes,
    },
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::handover::{pidfd, pidfd_of_thread};

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (kernel 6.6): who answers is about to sleep, so the caller
/// may wake up on the same CPU.
const SYNC_WAKE_UP: libc::c_ulong = 1;

/// What is done to a call that waits.
pub trait Answers {
    /// Answers it.
    fn send(&self, id: u64, reply: Reply) -> Result<(), Gone>;

    /// Whether the caller still waits: what was read from its memory or under its process id in
    /// the meantime was then its own.
    fn is_valid(&self, id: u64) -> bool;

    /// Kills the caller's process, whose id is `process` where that is known. The call needs no
    /// answer then.
    fn kill(&self, call: &Notification, process: Option<i32>) -> Result<(), NotKilled>;

    /// Lets it go on as if nobody had asked. One whose caller is gone needs nothing.
    fn let_go_on(&self, id: u64) {
        let _ = self.send(id, Reply::Continue);
    }
}

/// Why a caller was not killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKilled {
    /// Before kernel 6.9, for all but the first thread of a process: its id has to be known.
    ProcessUnknown,
    Gone,
}

/// The listening end of one filter. When the last copy is closed, the calls that the filter tells
/// of fail with ENOSYS.
#[derive(Debug)]
pub struct Listener {
    descriptor: OwnedFd,
    sizes: Sizes,
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    pub id: u64,
    /// The calling thread, in the pid namespace of whoever listens; 0 where it has no id there.
    pub thread: i32,
    pub data: seccomp_data,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Continue,
    /// With a positive errno.
    Fail(i32),
}

/// The caller has gone, or was interrupted before it was told the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// How many `u64` the kernel's structures take, which may be longer than those known here.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    request: usize,
    response: usize,
}

impl Sizes {
    fn ask() -> io::Result<Self> {
        let mut sizes =
            seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
        // SAFETY: the kernel writes the three numbers into a structure of its own layout.
        let answer = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes)
        };
        Errno::result(answer)?;
        let words = |kernel: u16, ours: usize| usize::from(kernel).max(ours).div_ceil(8);
        Ok(Self {
            request: words(sizes.seccomp_notif, size_of::<seccomp_notif>()),
            response: words(sizes.seccomp_notif_resp, size_of::<seccomp_notif_resp>()),
        })
    }
}

impl Listener {
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let listener = Self { descriptor, sizes: Sizes::ask()? };
        // SAFETY: the argument is a number. Older kernels answer EINVAL and go on as before.
        unsafe {
            libc::ioctl(listener.raw(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
        }
        Ok(listener)
    }

    /// Waits for the next call. Only one of several threads that wait gets it.
    pub fn receive(&self) -> io::Result<Notification> {
        loop {
            // The kernel refuses a buffer that is not zeroed.
            let mut buffer = vec![0u64; self.sizes.request];
            // SAFETY: the buffer has the kernel's size and at least that of the structure, and
            // is aligned for it.
            let answer =
                unsafe { libc::ioctl(self.raw(), SECCOMP_IOCTL_NOTIF_RECV, buffer.as_mut_ptr()) };
            match Errno::result(answer) {
                Ok(_) => {
                    // SAFETY: long enough, aligned, and integers only.
                    let request = unsafe { buffer.as_ptr().cast::<seccomp_notif>().read() };
                    return Ok(Notification {
                        id: request.id,
                        thread: i32::try_from(request.pid).unwrap_or_default(),
                        data: request.data,
                    });
                }
                Err(Errno::EINTR) => {}
                // The caller was interrupted before we got here; or, from kernel 6.11, there can
                // be no more callers.
                Err(Errno::ENOENT) if !self.is_over() => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether the last process with the filter has ended (kernel 5.9).
    pub fn is_over(&self) -> bool {
        let mut descriptors = [PollFd::new(self.descriptor.as_fd(), PollFlags::empty())];
        poll(&mut descriptors, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// The listener behind a copy of the descriptor.
    pub fn copy(&self, descriptor: OwnedFd) -> Self {
        Self { descriptor, sizes: self.sizes }
    }

    /// The number of the descriptor.
    pub fn raw(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

impl Answers for Listener {
    fn send(&self, id: u64, reply: Reply) -> Result<(), Gone> {
        let mut buffer = vec![0u64; self.sizes.response];
        let (error, flags) = match reply {
            Reply::Continue => (0, SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Fail(errno) => (-errno, 0),
        };
        let response = seccomp_notif_resp { id, val: 0, error, flags };
        loop {
            // SAFETY: long enough and aligned; the kernel reads and writes its own size at most.
            let answer = unsafe {
                buffer.as_mut_ptr().cast::<seccomp_notif_resp>().write(response);
                libc::ioctl(self.raw(), SECCOMP_IOCTL_NOTIF_SEND, buffer.as_mut_ptr())
            };
            match Errno::result(answer) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one number.
        let answer =
            unsafe { libc::ioctl(self.raw(), SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        answer == 0
    }

    fn kill(&self, call: &Notification, process: Option<i32>) -> Result<(), NotKilled> {
        let process = match process {
            Some(process) => pidfd(process),
            None => pidfd_of_thread(call.thread),
        };
        match process {
            // The descriptor stands for the caller only if that still waits.
            Ok(process) if self.is_valid(call.id) => {
                send_kill(&process).map_err(|_| NotKilled::Gone)
            }
            Err(Errno::EINVAL) => Err(NotKilled::ProcessUnknown),
            Ok(_) | Err(_) => Err(NotKilled::Gone),
        }
    }
}

/// `pidfd_send_signal` of SIGKILL (kernel 5.1), which ends the whole process, whatever thread the
/// descriptor stands for.
fn send_kill(process: &OwnedFd) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the kernel makes the information up where none is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            Signal::SIGKILL as i32,
            info,
            0,
        )
    };
    Errno::result(answer).map(drop)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
