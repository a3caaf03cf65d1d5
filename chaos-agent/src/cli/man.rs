//! `man`: the manual pages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, failure::Failure, output};

/// Print the manual page, or write the pages of all verbs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chaos-agent man | man -l -
  chaos-agent man --dir /usr/local/share/man/man1")]
pub struct Args {
    /// Write one page a verb into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn execute(args: &Args) -> Result<ExitCode, Failure> {
    match &args.dir {
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
            clap_mangen::generate_to(Cli::command(), dir)
                .with_context(|| format!("write manual pages into {}", dir.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            output::line(&String::from_utf8(page)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
