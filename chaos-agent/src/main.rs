//! The command line: `chaos-agent VERB`.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
