//! What is done to a program from outside.

use serde::{Deserialize, Serialize};

/// Sends a signal to all processes of a name, as the kernel has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kill {
    pub name: String,
    pub signal: KillSignal,
}

/// A signal that a process can't do anything about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillSignal {
    /// SIGKILL.
    End,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    pub processes: u64,
    /// When the last of them was sent the signal, in nanoseconds of
    /// [`crate::clock::boottime_ns`].
    pub at: u64,
}
