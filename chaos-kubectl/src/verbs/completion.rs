//! `completion`: prints scripts that complete command lines.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    cli::{Cli, CompletionArgs, Script},
    exit::Exit,
    failure::Failure,
    output,
};

/// What kubectl starts to complete `kubectl chaos`.
const KUBECTL: &str = "\
#!/bin/sh
# Completes `kubectl chaos`: kubectl starts this program, kubectl_complete-chaos, with the words of the line.
exec kubectl-chaos __complete \"$@\"
";

/// Prints the script.
pub fn execute(args: &CompletionArgs) -> Result<Exit, Failure> {
    let shell = match args.shell {
        Script::Kubectl => {
            output::line(KUBECTL)?;
            return Ok(Exit::Done);
        }
        Script::Bash => Shell::Bash,
        Script::Zsh => Shell::Zsh,
        Script::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-chaos", &mut script);
    output::line(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
