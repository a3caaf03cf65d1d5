//! What the agent costs its victims, measured from their side. Prints a Markdown table;
//! `cargo xtask bench` puts it into docs/benchmarks.md.

mod calls;
mod courier;
mod experiments;
mod rounds;
mod scene;
mod table;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "What the agent costs its victims")]
struct Cli {
    /// Few short rounds: does everything once, measures nothing well
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// The measured process; started by the benchmark itself
    #[command(hide = true)]
    Courier { options: String },
    /// The process whose calls are answered; started by the benchmark itself
    #[command(hide = true)]
    Caller { calls: u32 },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Courier { options }) => courier::run(&options),
        Some(Role::Caller { calls }) => {
            calls::victim(calls);
            Ok(())
        }
        None => {
            let effort = if cli.quick { rounds::Effort::QUICK } else { rounds::Effort::FULL };
            print!("{}", table::render(&experiments::run(effort)?));
            Ok(())
        }
    }
}
