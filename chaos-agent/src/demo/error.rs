//! What went wrong with the demonstration itself.

use std::io;

use chaos_engine::{cgroup::TargetError, kernel::KernelError};
use thiserror::Error;

/// Why the demonstration can't go on.
#[derive(Debug, Error)]
pub enum DemoError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("{doing} a process of the demonstration: {source}")]
    Process { doing: &'static str, source: io::Error },
    #[error("the agent wrote {said:?} instead of its ledger")]
    NoLedger { said: String },
    #[error("the client was not healthy again within {within:?} after the agent was killed")]
    NotHealthy { within: std::time::Duration },
}
