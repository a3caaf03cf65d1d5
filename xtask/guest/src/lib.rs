//! What a virtual machine of the lab and its host agree on.
//!
//! The host puts the kernel's modules and a [`Job`] into the initramfs, whose `/init` is this
//! crate's program, and shares its own root directory by 9p. The kernel logs to the first serial
//! line. The second one carries what the job prints, with [`Milestone`]s in between.

mod milestone;
mod node;

pub use milestone::Milestone;
pub use node::{CgroupDriver, NodeSetup};
use serde::{Deserialize, Serialize};

/// The [`Job`] in the initramfs, as JSON.
pub const JOB_FILE: &str = "job.json";

/// The directory of the modules in the initramfs.
pub const MODULES_DIR: &str = "modules";

/// The file in [`MODULES_DIR`] that names the other files there in the order of loading, one a
/// line.
pub const MODULES_ORDER: &str = "order";

/// The tag of the 9p share that is the host's root directory.
pub const HOST_TAG: &str = "host";

/// What the machine is started for: one command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The program, looked up in `PATH`, and its arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: String,
    /// The terminal at the host's end, if the command is to have one; without it the command reads
    /// nothing.
    pub terminal: Option<TerminalSize>,
}

/// How much a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}
