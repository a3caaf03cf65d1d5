//! The agent's end of a warden.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::ReceiveTimeout,
        },
        stat::Mode,
        time::{TimeVal, TimeValLike},
    },
    unistd::write,
};
use thiserror::Error;

use super::{board::Board, filter::Filter, install::install, order, reap::reap_when_ended};

/// The hidden verb of this program that makes a process a warden.
pub const VERB: &str = "warden";

const PAUSE: Duration = Duration::from_millis(2);

/// How long it may take a warden to take rules; the agent does nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no warden.
#[derive(Debug, Error)]
pub enum HireError {
    #[error("socketpair for the warden: {0}")]
    Socket(io::Error),
    #[error("start the warden (/proc/self/exe {VERB}): {0}")]
    Start(io::Error),
    #[error("give an order to the warden: {0}")]
    Order(io::Error),
    #[error("wait for the warden to take the rules: {0}")]
    Silent(io::Error),
}

/// A warden that obeys this process. When it is dropped, the warden lets every call go on until
/// its target is gone.
#[derive(Debug)]
pub struct Warden {
    socket: OwnedFd,
    /// Taken when this is dropped.
    process: Option<Child>,
    /// Of a container whose calls it does not answer yet.
    unattended: Option<OwnedFd>,
}

impl Warden {
    fn start() -> Result<Self, HireError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| HireError::Socket(errno.into()))?;
        let patience = TimeVal::milliseconds(PATIENCE.as_millis() as i64);
        setsockopt(&ours, ReceiveTimeout, &patience)
            .map_err(|errno| HireError::Socket(errno.into()))?;
        // All our other descriptors are closed by exec: links of programs above all, which must
        // go when we do.
        let process = Command::new("/proc/self/exe")
            .arg0("chaos-agent")
            .arg(VERB)
            .env_clear()
            .stdin(Stdio::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(HireError::Start)?;
        Ok(Self { socket: ours, process: Some(process), unattended: None })
    }

    /// A warden for the next child of this process that [`filtered`] prepares with the same
    /// board.
    pub fn of_child(board: &Board) -> Result<Self, HireError> {
        let warden = Self::start()?;
        order::send_child(&warden.socket, board).map_err(HireError::Order)?;
        Ok(warden)
    }

    /// A warden for whoever has the filter of this listener. It answers from [`Warden::attend`]
    /// on, at the latest when this is dropped: a listener that is closed would make the calls fail.
    pub fn of_container(listener: OwnedFd) -> Result<Self, HireError> {
        let mut warden = Self::start()?;
        warden.unattended = Some(listener);
        Ok(warden)
    }

    /// Has it answer the container's calls, by the boards that it has got until now and by those
    /// that come later. Without a board every call goes on.
    pub fn attend(&mut self) -> Result<(), HireError> {
        match self.unattended.take() {
            Some(listener) => {
                order::send_container(&self.socket, listener).map_err(HireError::Order)
            }
            None => Ok(()),
        }
    }

    /// Moves it into a cgroup, so that it does not end with ours: a runtime that stops the agent's
    /// container kills everything in that.
    pub fn move_to(&self, cgroup: &impl AsFd) -> io::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let procs =
            openat(cgroup, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        write(procs, process.id().to_string().as_bytes())?;
        Ok(())
    }

    /// Has it judge by the rules on this board, too: it does when this returns. One that has ended,
    /// as its target has, needs no rules.
    pub fn judge_by(&self, board: &Board) -> Result<(), HireError> {
        match order::send_board(&self.socket, board) {
            Ok(()) => order::wait_for_acknowledgement(&self.socket).map_err(HireError::Silent),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(HireError::Order(error)),
        }
    }

    /// Whether it still runs; it ends with its target.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Waits until it has ended, at most `within`.
    pub fn wait(mut self, within: Duration) -> bool {
        let give_up = Instant::now() + within;
        while self.is_running() {
            if Instant::now() > give_up {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        if let Err(error) = self.attend() {
            tracing::warn!(%error, "the listed calls of a container fail with ENOSYS");
        }
        // It goes on until its target has ended.
        if let Some(process) = self.process.take() {
            reap_when_ended(process);
        }
    }
}

/// Makes `command` start with the filter on, under a [`Warden::of_child`] of the same board. To be
/// called after everything else that is to happen between fork and exec, as the calls of that
/// might be answered, too.
pub fn filtered(command: &mut Command, filter: Filter, board: Arc<Board>) {
    // SAFETY: between fork and exec only getpid(2), seccomp(2) and close(2) are called and memory
    // is read and written; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            use std::os::fd::AsRawFd;
            let pid = nix::unistd::getpid().as_raw();
            let listener = install(&filter)?;
            board.handover().offer(pid, listener.as_raw_fd());
            Ok(())
        });
    }
}
