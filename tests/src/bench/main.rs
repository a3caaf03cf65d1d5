//! What the agent costs its victims, measured from their side. Prints a Markdown table;
//! `cargo xtask bench` puts it into docs/benchmarks.md.

mod caller;
mod calls;
mod cluster;
mod courier;
mod delays;
mod empty;
mod experiments;
mod rates;
mod rounds;
mod scale;
mod scene;
mod table;
mod traced;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "What the agent costs its victims")]
struct Cli {
    /// Few short rounds: does everything once, measures nothing well
    #[arg(long)]
    quick: bool,
    /// Only what programs at system calls cost, on a kernel that has them
    #[arg(long)]
    calls: bool,
    /// Only delays, beside netem's where the kernel has it; prints JSON
    #[arg(long, conflicts_with = "calls")]
    delays: bool,
    /// Only rates, beside tbf's where the kernel has it, and loads under a delay; prints JSON
    #[arg(long, conflicts_with_all = ["calls", "delays"])]
    rates: bool,
    /// Only what many targets cost
    #[arg(long, conflicts_with_all = ["calls", "delays", "rates"])]
    scale: bool,
    /// Only what targets cost others in their network namespace
    #[arg(long, conflicts_with_all = ["calls", "delays", "rates", "scale"])]
    beside: bool,
    /// Only what a run on all pods of a cluster costs, without a kernel; prints JSON
    #[arg(long, conflicts_with_all = ["calls", "delays", "rates", "scale", "beside"])]
    cluster: bool,
    /// Nodes of that cluster
    #[arg(long, requires = "cluster", default_value_t = 200, value_parser = at_least_one)]
    nodes: usize,
    /// Pods on all of its nodes together
    #[arg(long, requires = "cluster", default_value_t = 6000, value_parser = at_least_one)]
    pods: usize,
    /// How this was built
    #[arg(long, requires = "cluster", default_value = "release")]
    profile: String,
    /// Beside it what they cost this other agent, in turns
    #[arg(long, requires = "scale", value_name = "PROGRAM")]
    before: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// The measured process; started by the benchmark itself
    #[command(hide = true)]
    Courier { options: String },
    /// A process that tells when it is left alone; started by the benchmark itself
    #[command(hide = true)]
    Prober { what: String },
    /// A process that makes system calls; started by the benchmark itself
    #[command(hide = true)]
    Caller { call: String, calls: u32 },
}

fn at_least_one(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".to_owned())
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Courier { options }) => courier::run(&options),
        Some(Role::Prober { what }) => scale::probe(&what),
        Some(Role::Caller { call, calls }) => caller::run(&call, calls),
        None => {
            let effort = if cli.quick { rounds::Effort::QUICK } else { rounds::Effort::FULL };
            if cli.delays {
                println!("{}", serde_json::to_string(&delays::measure(effort)?)?);
                return Ok(());
            }
            if cli.rates {
                println!("{}", serde_json::to_string(&rates::measure(effort)?)?);
                return Ok(());
            }
            if cli.cluster {
                let steady = Duration::from_secs(if cli.quick { 10 } else { 60 });
                let size = cluster::Size { nodes: cli.nodes, pods: cli.pods, steady };
                let measured = cluster::measure(&size, &cli.profile)?;
                println!("{}", serde_json::to_string(&measured)?);
                return Ok(());
            }
            if cli.scale {
                let agent = scale::own_agent()?;
                print!("{}", scale::measure(effort, &agent, cli.before.as_deref())?);
                return Ok(());
            }
            let sections = if cli.calls {
                traced::measure(effort)?
            } else if cli.beside {
                experiments::beside(effort)?
            } else {
                experiments::run(effort)?
            };
            anyhow::ensure!(!sections.is_empty(), "this kernel has nothing to measure");
            print!("{}", table::render(&sections));
            Ok(())
        }
    }
}
