//! The command line, one file a verb.

mod agent;
mod arm;
mod completions;
#[cfg(feature = "cluster")]
mod controller;
mod demo;
mod disarm;
mod doctor;
mod explain;
mod failure;
mod faults;
mod follow;
mod halt;
mod hooks;
mod inject;
mod kernel;
mod language;
mod ledger;
mod list;
mod logs;
mod man;
mod output;
mod rights;
mod run;
mod schema;
mod serving;
mod session;
mod show;
mod signals;
mod socket;
mod sparing;
mod supervisor;
mod target;
mod terms;

use std::process::ExitCode;

use chaos_engine::descriptors;
use clap::{Parser, Subcommand};

use self::{failure::Failure, output::Format};

/// Breaks the network and the system calls of one pod, container, unit or process, inside the
/// kernel, and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "chaos-agent",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_long_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        display_order = 900
    )]
    output: Format,
}

const AFTER_HELP: &str = "\
A fault is a sentence, such as `drop 10% egress tcp to port 443 for 1m` or
`fail write with ENOSPC under /var/lib/app`; `chaos-agent language` prints all there is to say.

Exit codes:
  0  it went well
  1  the plan was refused, or something failed on the way
  2  wrong usage: options, the text of a fault, or the target
  `run` exits as its command does, 128 + N when that is ended by signal N.

Environment:
  CHAOS_LOG  what is logged to standard error: warn (default; info for `agent` and `controller`),
             debug, or by module, such as chaos_engine::arm=debug
  NO_COLOR   no colour, also on a terminal";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Inject(inject::Args),
    Explain(explain::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    Agent(agent::Args),
    #[cfg(feature = "cluster")]
    Controller(controller::Args),
    Arm(arm::Args),
    List(list::Args),
    Show(show::Args),
    Disarm(disarm::Args),
    Halt(halt::Args),
    Follow(follow::Args),
    Language(language::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    Supervisor(supervisor::Args),
    Victim(demo::VictimArgs),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let Cli { command, output } = Cli::parse();
    logs::init(if is_daemon(&command) { "info" } else { "warn" });
    match execute(command, output) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Whether it goes on for as long as nobody ends it.
fn is_daemon(command: &Command) -> bool {
    #[cfg(feature = "cluster")]
    if matches!(command, Command::Controller(_)) {
        return true;
    }
    matches!(command, Command::Agent(_))
}

fn execute(command: Command, format: Format) -> Result<ExitCode, Failure> {
    if matches!(
        command,
        Command::Run(_) | Command::Inject(_) | Command::Agent(_) | Command::Doctor(_)
    ) && let Err(error) = descriptors::raise()
    {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
    match command {
        Command::Run(args) => run::execute(&args, format),
        Command::Inject(args) => inject::execute(&args, format),
        Command::Explain(args) => explain::execute(&args, format),
        Command::Doctor(doctor::Args {}) => doctor::execute(format),
        Command::Demo(args) => demo::execute(&args, format),
        Command::Agent(args) => agent::execute(&args, format),
        #[cfg(feature = "cluster")]
        Command::Controller(args) => controller::execute(&args),
        Command::Language(language::Args {}) => language::execute(),
        Command::Schema(schema::Args {}) => schema::execute(),
        Command::Arm(args) => arm::execute(&args, format),
        Command::List(args) => list::execute(&args, format),
        Command::Show(args) => show::execute(&args, format),
        Command::Disarm(args) => disarm::execute(&args, format),
        Command::Halt(args) => halt::execute(&args, format),
        Command::Follow(args) => follow::execute(&args, format),
        Command::Completions(args) => completions::execute(&args),
        Command::Man(args) => man::execute(&args),
        Command::Supervisor(supervisor::Args {}) => supervisor::execute(),
        Command::Victim(args) => demo::execute_victim(&args),
    }
}
