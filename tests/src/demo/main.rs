//! A client and a server, broken and healed, fault by fault: what the victim saw beside what the
//! kernel counted.

mod agent;
mod cluster;
mod hosts;
mod kubernetes;
mod machine;
mod print;
mod recovery;
mod residue;
mod traffic;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

/// Where the fault is shown.
#[derive(Parser)]
#[command(name = "demo", about = "A client and a server, broken and healed, fault by fault")]
enum Cli {
    /// On this machine, by hand
    Machine {
        /// The program `chaos-agent`
        agent: PathBuf,
    },
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
        Cli::Machine { agent } => machine::run(&agent)?,
        Cli::Kubernetes { agent } => kubernetes::run(&agent)?,
        Cli::Cluster => cluster::run()?,
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
