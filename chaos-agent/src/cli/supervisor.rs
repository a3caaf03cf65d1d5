//! `supervisor`: what the agent starts to answer the calls of a target; not for people.

use std::{io::stdin, os::fd::AsFd, process::ExitCode};

use anyhow::Context;
use chaos_engine::seccomp::supervisor;

use super::failure::Failure;

/// Answer the calls of a target that was started with a filter; the agent starts this
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {}

pub fn execute() -> Result<ExitCode, Failure> {
    let socket = stdin().as_fd().try_clone_to_owned().context("take the socket of the agent")?;
    supervisor::serve(socket).context("answer calls")?;
    Ok(ExitCode::SUCCESS)
}
