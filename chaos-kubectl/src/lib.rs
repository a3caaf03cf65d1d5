//! The plugin `kubectl chaos`: begins, watches, halts and explains experiments with nothing but its user's rights.
//!
//! ```text
//! cli (arguments) ─► verbs ─► cluster (requests, their errors) ─► view, diagnosis, lint (pure: what is said) ─► output
//! ```
//!
//! Needs no BPF, and no rights on any machine.

#![forbid(unsafe_code)]

mod adhoc;
mod cli;
mod cluster;
mod completion;
mod diagnosis;
mod exit;
mod failure;
mod file;
mod follow;
mod keyboard;
mod labels;
mod lint;
mod output;
mod printable;
mod rates;
mod removable;
mod report;
mod run_name;
mod screen;
mod signals;
mod terminal;
mod text;
mod verbs;
mod view;
mod whole_file;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, exit::Exit, failure::Failure};

/// Expressions in files are read by functions that recurse: within their bounds they need less.
const STACK: usize = 64 << 20;

/// Runs the verb of the command line.
pub fn main() -> ExitCode {
    if let Some(words) = completion::asked(std::env::args_os()) {
        return on_a_thread(move || completion::answer(&words));
    }
    let cli = Cli::parse();
    on_a_thread(move || execute(&cli))
}

fn on_a_thread(work: impl FnOnce() -> Exit + Send + 'static) -> ExitCode {
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(work);
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => exit.into(),
        // The panic has been printed.
        Ok(Err(_)) => Exit::Failed.into(),
        Err(error) => {
            output::error_line(&format!("error: cannot start a thread: {error}"));
            Exit::Failed.into()
        }
    }
}

fn execute(cli: &Cli) -> Exit {
    let done = runtime().and_then(|runtime| runtime.block_on(verbs::execute(cli)));
    done.unwrap_or_else(|failure| {
        output::error_line(&failure.to_string());
        failure.exit()
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let io = |source| Failure::Io { what: "start the runtime".to_owned(), source };
    builder.enable_all().build().map_err(io)
}
