//! Running other programs, and finding what cargo has built.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
pub use chaos_toolchain::command::{capture, cargo, run};
use xtask::paths;

/// Where cargo puts what it builds.
pub fn target_directory() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(paths::workspace()).no_deps().exec();
    Ok(metadata.context("read the workspace")?.target_directory.into())
}
