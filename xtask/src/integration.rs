//! Programs of the integration crate that are more than tests.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;
use nix::unistd::geteuid;
use xtask::paths;

use crate::command::run;

/// The crate whose programs and tests need root.
pub const PACKAGE: &str = "chaos-tests";

/// Fails, with the reason, when this process is not root's.
pub fn needs_root(why: &str) -> Result<()> {
    if !geteuid().is_root() {
        bail!("{why}: run it as root");
    }
    Ok(())
}

/// Builds a program of the integration crate for release and tells where it is.
pub fn build_program(name: &str) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::workspace());
    run(cargo.args(["build", "--release", "--package", PACKAGE, "--bin", name]))?;
    let metadata = MetadataCommand::new().current_dir(paths::workspace()).no_deps().exec()?;
    Ok(metadata.target_directory.join("release").join(name).into())
}
