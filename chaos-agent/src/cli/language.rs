//! `language`: the reference of the fault language, for whoever has nothing but the program.

use std::process::ExitCode;

use super::{failure::Failure, output};

/// Print the reference of the fault language: every verb and every clause, with examples
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  chaos-agent language | less")]
pub struct Args {}

/// `docs/faults.md`, whose examples are tests.
const REFERENCE: &str = include_str!("../../../docs/faults.md");

pub fn execute() -> Result<ExitCode, Failure> {
    output::line(REFERENCE.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
