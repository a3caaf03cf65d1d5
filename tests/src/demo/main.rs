//! A pod, broken by its annotation and healed: what it saw beside what the kernel counted. `chaos-agent demo`
//! shows the same without Kubernetes.

mod cluster;
mod kubernetes;
mod print;
mod traffic;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

/// Where the fault is shown.
#[derive(Parser)]
#[command(name = "demo", about = "A pod, broken by its annotation and healed")]
enum Cli {
    /// By annotating a pod, against a real API server
    Kubernetes {
        /// The program `chaos-agent`
        agent: PathBuf,
    },
    /// On a real node, in a virtual machine that `cargo xtask demo` makes ready
    Cluster,
}

fn main() -> Result<ExitCode> {
    let held = match Cli::parse() {
        Cli::Kubernetes { agent } => kubernetes::run(&agent)?,
        Cli::Cluster => cluster::run()?,
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
