//! The agent's end of a supervisor.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::write,
};
use thiserror::Error;

use super::{
    filter::Filter, install::install, order, reap::reap_when_ended, shared_rules::SharedRules,
};

/// The hidden verb of this program that makes a process a supervisor.
pub const VERB: &str = "supervisor";

const PAUSE: Duration = Duration::from_millis(2);

/// Why there is no supervisor.
#[derive(Debug, Error)]
pub enum SpawnError {
    #[error("socketpair for the supervisor: {0}")]
    Socket(io::Error),
    #[error("start the supervisor (/proc/self/exe {VERB}): {0}")]
    Start(io::Error),
    #[error("give an order to the supervisor: {0}")]
    Order(io::Error),
    #[error("wait for the supervisor to take the rules: {0}")]
    Silent(io::Error),
}

/// A supervisor that obeys this process. When it is dropped, the supervisor lets every call go on until
/// its target is gone.
#[derive(Debug)]
pub struct Supervisor {
    socket: OwnedFd,
    /// How many orders to judge by other rules it was given.
    orders: AtomicU64,
    /// Taken when this is dropped.
    process: Option<Child>,
    /// Of a container whose calls it does not answer yet.
    unserved: Option<OwnedFd>,
}

impl Supervisor {
    fn start() -> Result<Self, SpawnError> {
        let (ours, its) = order::ends().map_err(SpawnError::Socket)?;
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
            .map_err(SpawnError::Start)?;
        let orders = AtomicU64::new(0);
        Ok(Self { socket: ours, orders, process: Some(process), unserved: None })
    }

    /// A supervisor for the next child of this process that [`filtered`] prepares with the same
    /// shared rules.
    pub fn of_child(shared: &SharedRules) -> Result<Self, SpawnError> {
        let supervisor = Self::start()?;
        order::send_child(&supervisor.socket, shared).map_err(SpawnError::Order)?;
        Ok(supervisor)
    }

    /// A supervisor for whoever has the filter of this listener. It answers from [`Supervisor::serve`]
    /// on, at the latest when this is dropped: a listener that is closed would make the calls fail.
    pub fn of_container(listener: OwnedFd) -> Result<Self, SpawnError> {
        let mut supervisor = Self::start()?;
        supervisor.unserved = Some(listener);
        Ok(supervisor)
    }

    /// Has it answer the container's calls, by the shared rules that it has got until now and by those
    /// that come later. Without shared rules every call goes on.
    pub fn serve(&mut self) -> Result<(), SpawnError> {
        match self.unserved.take() {
            Some(listener) => {
                order::send_container(&self.socket, listener).map_err(SpawnError::Order)
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

    /// Has it judge by the rules that are shared here, too: it does when this returns. One that has ended,
    /// as its target has, needs no rules.
    pub fn adopt(&self, shared: &SharedRules) -> Result<(), SpawnError> {
        let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        match order::send_shared(&self.socket, shared, number) {
            Ok(()) => {
                order::wait_for_acknowledgement(&self.socket, number).map_err(SpawnError::Silent)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(SpawnError::Order(error)),
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

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Err(error) = self.serve() {
            tracing::warn!(%error, "the listed calls of a container fail with ENOSYS");
        }
        // It goes on until its target has ended.
        if let Some(process) = self.process.take() {
            reap_when_ended(process);
        }
    }
}

/// Makes `command` start with the filter on, under a [`Supervisor::of_child`] of the same shared rules. To be
/// called after everything else that is to happen between fork and exec, as the calls of that
/// might be answered, too.
pub fn filtered(command: &mut Command, filter: Filter, shared: Arc<SharedRules>) {
    // SAFETY: between fork and exec only getpid(2), seccomp(2) and close(2) are called and memory
    // is read and written; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            use std::os::fd::AsRawFd;
            let pid = nix::unistd::getpid().as_raw();
            let listener = install(&filter)?;
            shared.handover().offer(pid, listener.as_raw_fd());
            Ok(())
        });
    }
}
