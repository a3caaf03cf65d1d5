//! `disarm`: end the faults of one target.

use std::process::ExitCode;

use chaos_agent::control::{Answer, Command};
use chaos_api::ArmedId;

use super::{
    failure::Failure,
    halt,
    output::{self, Format},
    socket::{SocketArg, failure},
};

/// End the faults of one target of a running agent, and print their ledger
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id, or the target, as `list` shows it: cli:1, unit:nginx.service
    id: String,
    #[command(flatten)]
    socket: SocketArg,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let mut client = args.socket.connect()?;
    let id = ArmedId(args.id.clone());
    let ended = match client.ask(Command::Disarm { id }).map_err(failure)? {
        Answer::Disarmed(ended) => ended,
        other => return Err(client.unexpected(&other).into()),
    };
    match format {
        Format::Json => output::json(&ended)?,
        Format::Table => output::line(&halt::ledgers(&[ended]))?,
    }
    Ok(ExitCode::SUCCESS)
}
