//! `completions`: scripts that complete command lines in a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, failure::Failure, output};

/// Print a script that completes command lines in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chaos-agent completions bash > /etc/bash_completion.d/chaos-agent
  chaos-agent completions zsh > \"${fpath[1]}/_chaos-agent\"
  chaos-agent completions fish > ~/.config/fish/completions/chaos-agent.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn execute(args: &Args) -> Result<ExitCode, Failure> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::line(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
