//! Listens for Ctrl-C and SIGTERM.

use std::{future::Future, pin::pin};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// What a person or a pipeline sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM, as a pipeline that is cancelled sends it.
    Termination,
}

/// The signals since this was made, also those that came before somebody asked for them.
#[derive(Debug)]
pub struct Signals {
    interrupts: Signal,
    terminations: Signal,
    /// One that came beside other work.
    kept: Option<Sent>,
}

impl Signals {
    /// Listens from now on. The signals end the program no more.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind, name: &str| {
            let what = format!("listen for {name}");
            signal(kind).map_err(|source| Failure::Io { what, source })
        };
        Ok(Self {
            interrupts: listen(SignalKind::interrupt(), "Ctrl-C")?,
            terminations: listen(SignalKind::terminate(), "SIGTERM")?,
            kept: None,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Sent {
        match self.kept.take() {
            Some(sent) => sent,
            None => self.arriving().await,
        }
    }

    /// Does something that cannot be left in the middle: a signal is kept for [`Signals::next`]. `None` if another came
    /// before it was done.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                sent = self.arriving() => {
                    if self.kept.replace(sent).is_some() {
                        return None;
                    }
                }
            }
        }
    }

    async fn arriving(&mut self) -> Sent {
        tokio::select! {
            _ = self.interrupts.recv() => Sent::Interrupt,
            _ = self.terminations.recv() => Sent::Termination,
        }
    }
}
