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

pub fn ensure() -> Result<()> {
    bpf::ensure()?;
    musl()
}

fn musl() -> Result<()> {
    let installed = capture(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if installed.lines().any(|target| target == MUSL_TARGET) {
        return Ok(());
    }
    progress(&format!("adding the target {MUSL_TARGET}"));
    run(Command::new("rustup").args(["target", "add", MUSL_TARGET]))
}
