//! `halt`: end everything.

use std::process::ExitCode;

use chaos_agent::control::{Answer, Command};
use chaos_api::Ended;

use super::{
    failure::Failure,
    ledger,
    output::{self, Format},
    socket::{SocketArg, failure},
};

/// End all faults of a running agent at once, and print their ledgers
///
/// The agent goes on: what is asked of it afterwards is armed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: SocketArg,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let mut client = args.socket.connect()?;
    let ended = match client.ask(Command::Halt).map_err(failure)? {
        Answer::Halted(ended) => ended,
        other => return Err(client.unexpected(&other).into()),
    };
    print(&ended, format)?;
    Ok(ExitCode::SUCCESS)
}

/// The last ledgers of everything that was armed.
pub fn print(ended: &[Ended], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(&ended),
        Format::Table if ended.is_empty() => {
            output::note("nothing was armed");
            Ok(())
        }
        Format::Table => Ok(output::line(&ledgers(ended))?),
    }
}

/// One paragraph a target.
pub fn ledgers(ended: &[Ended]) -> String {
    let paragraphs: Vec<String> = ended
        .iter()
        .map(|Ended { id, why, report, .. }| match report {
            Some(report) => {
                let heading = format!("{id} ({}) is disarmed: {why}", report.target);
                let lines = [heading, ledger::table(&report.faults)].into_iter();
                lines.chain(ledger::unmatched(&report.faults)).collect::<Vec<_>>().join("\n")
            }
            None => format!("{id} is disarmed: {why}\nits ledger could not be read"),
        })
        .collect();
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use chaos_api::ArmedId;

    use super::*;

    #[test]
    fn a_ledger_that_is_missing_is_said_to_be() {
        let ended = |id: &str| Ended {
            id: ArmedId(id.to_owned()),
            why: "its cgroup is gone".to_owned(),
            is_gone: true,
            report: None,
        };
        let printed = ledgers(&[ended("cli:1"), ended("cli:2")]);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(
            lines[..2],
            ["cli:1 is disarmed: its cgroup is gone", "its ledger could not be read"]
        );
        assert!(lines[3].starts_with("cli:2"), "{printed}");
    }
}
