//! The compilers: those of the BPF object, and the musl target of the stable toolchain for a static agent.
//!
//! The stable toolchain itself is installed by rustup, which reads `rust-toolchain.toml`.

use std::process::Command;

use anyhow::Result;
use chaos_toolchain::bpf;

use super::progress;
use crate::command::{capture, run};

/// The target of programs that need nothing of the machine they run on.
pub const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";

/// What the agent is checked for besides.
pub const AARCH64_TARGET: &str = "aarch64-unknown-linux-gnu";

pub fn ensure() -> Result<()> {
    bpf::ensure()?;
    target(MUSL_TARGET)
}

/// Installs what checks that the agent compiles for another architecture.
pub fn ensure_aarch64() -> Result<()> {
    bpf::ensure()?;
    target(AARCH64_TARGET)
}

fn target(name: &str) -> Result<()> {
    let installed = capture(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if installed.lines().any(|target| target == name) {
        return Ok(());
    }
    progress(&format!("adding the target {name}"));
    run(Command::new("rustup").args(["target", "add", name]))
}
