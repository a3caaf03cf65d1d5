//! Running other programs: a command that fails is shown as it was run.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// cargo in the workspace, as if it were not run by cargo: build scripts look at variables that tell which
/// package is run (ring's does), and would run again, with all that depends on them, whenever someone
/// calls cargo by hand in between.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(paths::workspace());
    let of_a_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_a_package)) {
        command.env_remove(name);
    }
    command
}

/// Makes sure that this process is root's.
///
/// # Errors
/// With the reason, when it is not.
pub fn needs_root(why: &str) -> Result<()> {
    if fs::metadata("/proc/self").context("look up who runs this")?.uid() != 0 {
        bail!("{why}: run it as root");
    }
    Ok(())
}

/// Runs a command with this process's output.
///
/// # Errors
/// When the command fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs a command in silence and returns what it wrote to standard output; its standard error
/// becomes part of the error when it fails.
///
/// # Errors
/// When the command fails, or writes what is no UTF-8.
pub fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}\n{}", String::from_utf8_lossy(&stderr).trim_end());
    }
    String::from_utf8(stdout).with_context(|| format!("output of {command:?}"))
}
