//! Signals as events: blocked, and read from a descriptor when the one loop gets to them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use anyhow::Context;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// Some signals, blocked in this thread and in those that it starts from then on.
pub struct Signals {
    descriptor: SignalFd,
    before: SigSet,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub signal: Signal,
    /// The kernel sent it, as it does for Ctrl-C: to every process in the foreground of the
    /// terminal.
    pub by_kernel: bool,
}

impl Signals {
    /// To be called while this is the only thread: another one would take the signals.
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> anyhow::Result<Self> {
        let set: SigSet = signals.into_iter().collect();
        let before = SigSet::thread_get_mask().context("read the signal mask")?;
        set.thread_block().context("block signals")?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("signalfd")?;
        Ok(Self { descriptor, before })
    }

    /// The signal mask as it was: what a child is to have, which inherits the mask otherwise.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }

    /// The next signal, or `None` after `timeout` (or a little earlier), or as soon as this other descriptor is readable.
    pub fn next(
        &self,
        timeout: Duration,
        other: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<Option<Received>> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let descriptors = [self.descriptor.as_fd()].into_iter().chain(other);
        let mut descriptors: Vec<PollFd<'_>> =
            descriptors.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        match poll(&mut descriptors, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(io::Error::from(errno)).context("poll for signals"),
        }
        let Some(info) = self.descriptor.read_signal().context("read a signal")? else {
            return Ok(None);
        };
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        let signal = Signal::try_from(number).context("read a signal")?;
        Ok(Some(Received { signal, by_kernel: info.ssi_code == libc::SI_KERNEL }))
    }
}
