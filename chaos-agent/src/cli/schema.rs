//! `schema`: the YAML form of faults as a JSON schema, for editors.

use std::process::ExitCode;

use super::{failure::Failure, output};

/// Print a JSON schema of faults as YAML, by which editors complete and check them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  chaos-agent schema > faults.schema.json
and, as the first line of a file of faults, for editors with the YAML language server:
  # yaml-language-server: $schema=faults.schema.json")]
pub struct Args {}

pub fn execute() -> Result<ExitCode, Failure> {
    output::json(&chaos_fault::schema())?;
    Ok(ExitCode::SUCCESS)
}
