//! A client and a server, broken and healed, fault by fault: what the victim saw beside what the
//! kernel counted.

mod agent;
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

#[derive(Parser)]
#[command(name = "demo", about = "A client and a server, broken and healed, fault by fault")]
struct Cli {
    /// The program `chaos-agent`
    agent: PathBuf,
    /// By annotating a pod, against a real API server
    #[arg(long)]
    kubernetes: bool,
}

fn main() -> Result<ExitCode> {
    let Cli { agent, kubernetes } = Cli::parse();
    let held = if kubernetes { kubernetes::run(&agent)? } else { machine::run(&agent)? };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
