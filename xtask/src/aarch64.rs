//! `aarch64`: checks that the agent compiles for another architecture than the one that everything is tested on.

use anyhow::Result;

use crate::{
    command::{cargo, run as run_command},
    integration::AGENT,
    setup::{self, Part, build::AARCH64_TARGET},
};

/// Checks the agent and the crates that it has by default, but for those that need the client of Kubernetes: its TLS
/// library has C and assembly, and no compiler for those is installed. The engine's build script compiles the BPF
/// object for this architecture, too.
pub fn run() -> Result<()> {
    setup::ensure(&[Part::Aarch64])?;
    let package = ["--package", AGENT, "--no-default-features"];
    // Clippy sees the crates with all their features only.
    let mut check = cargo();
    check.env("CARGO_BUILD_WARNINGS", "deny");
    run_command(check.args(["check", "--locked", "--target", AARCH64_TARGET]).args(package))
}
