//! Says why a command could not do what was asked.

use std::io;

use thiserror::Error;

use crate::{cluster::ClusterError, exit::Exit};

/// Why a command has ended without a result.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was typed cannot be meant. The text says what would be right.
    #[error("error: {0}")]
    Usage(String),
    /// Mistakes with their places, rendered.
    #[error("{0}")]
    Mistakes(String),
    #[error("error: {0}")]
    Cluster(#[from] ClusterError),
    #[error("error: cannot {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("error: cannot write the result: {0}")]
    Output(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something took too long. The text says what is to be done.
    #[error("error: {0}")]
    TimedOut(String),
}

impl Failure {
    /// The exit code that it has.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Mistakes(_)
            | Self::Cluster(_)
            | Self::Io { .. }
            | Self::Output(_)
            | Self::TimedOut(_) => Exit::Failed,
        }
    }
}
