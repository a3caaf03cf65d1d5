//! Compiles the agent fast, and runs `chaos-agent demo`.

use std::{env, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    bpf,
    command::{cargo, needs_root, run as run_command},
};

/// The agent's package and its program.
pub const AGENT: &str = "chaos-agent";

/// The profile that compiles fast (`Cargo.toml`).
const PROFILE: &str = "quick";

/// Shows a client and a server broken and healed on this machine.
///
/// # Errors
/// When this process is not root's, or a compiler cannot be installed or fails.
pub fn run() -> Result<()> {
    needs_root("the demo makes cgroups and network namespaces")?;
    bpf::ensure()?;
    eprintln!("compiling the agent: a few minutes the first time ...");
    // Without the client of Kubernetes, which nothing here needs.
    let package = ["--package", AGENT, "--no-default-features"];
    run_command(cargo().args(["build", "--profile", PROFILE]).args(package))?;
    // This program lies in the directory of another profile, or of the same.
    let own = env::current_exe().context("look up this program")?;
    let target = own.ancestors().nth(2).context("this program was not run by cargo")?;
    let agent = target.join(PROFILE).join(AGENT);
    run_command(Command::new(&agent).arg("demo"))?;
    println!("\nOn your own things: {} run --fault 'drop 10%' -- COMMAND", agent.display());
    Ok(())
}
