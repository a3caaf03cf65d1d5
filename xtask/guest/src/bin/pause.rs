//! The pause container of the lab's node: holds a pod's namespaces, and reaps what is orphaned in
//! them.

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};

fn main() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM] {
        signals.add(signal);
    }
    // Blocked signals wait until they are asked for, so that none is missed.
    signals.thread_block().context("block signals")?;
    while signals.wait().context("sigwait")? == Signal::SIGCHLD {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                reaped => reaped.context("waitpid")?,
            };
        }
    }
    Ok(())
}
