//! Running other programs: a command that fails is shown as it was run.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

/// Runs a command with this process's output; fails when it does.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs a command in silence and returns what it wrote to standard output; its standard error
/// becomes part of the error when it fails.
pub fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}\n{}", String::from_utf8_lossy(&stderr).trim_end());
    }
    String::from_utf8(stdout).with_context(|| format!("output of {command:?}"))
}
