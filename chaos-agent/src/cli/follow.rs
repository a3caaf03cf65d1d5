//! `follow`: what an agent does, while it does it.

use std::process::ExitCode;

use anyhow::anyhow;
use chaos_agent::control::{Event, Injection};
use chaos_api::{ArmedId, Ended};
use chaos_fault::shortened;
use jiff::Timestamp;

use super::{
    failure::Failure,
    output::{self, Format},
    socket::{SocketArg, failure},
};

/// Print what a running agent does to its targets, one line an injection
///
/// A sample: when too much happens at once, a line says how many injections are not shown. The
/// ledger (`show`) has them all. Times are UTC.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this target, by its id or its name as `list` shows them, until it is disarmed
    id: Option<String>,
    #[command(flatten)]
    socket: SocketArg,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let id = args.id.clone().map(ArmedId);
    let only_one = id.is_some();
    for event in args.socket.connect()?.follow(id).map_err(failure)? {
        let event = event.map_err(failure)?;
        output::line(&match format {
            Format::Json => serde_json::to_string(&event)?,
            Format::Table => text(&event, Timestamp::now()),
        })?;
        if only_one && matches!(event, Event::Ended(_)) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Failure::Runtime(anyhow!("the agent at {} has gone", args.socket.socket.display())))
}

fn text(event: &Event, now: Timestamp) -> String {
    match event {
        Event::Injected(injection) => injected(injection),
        Event::Ended(Ended { id, why, report, .. }) => {
            let counts: Vec<String> = report
                .iter()
                .flat_map(|report| &report.faults)
                .map(|fault| {
                    let acts = fault.counts.injected + fault.counts.shadowed;
                    let fault_text = shortened(&fault.fault);
                    format!("; {} of {} in `{fault_text}`", acts, fault.counts.matched)
                })
                .collect();
            format!("{} {id} ended: {why}{}", clock(now), counts.concat())
        }
        Event::Lost { id: Some(id), number } => {
            format!("{} {id} {number} more are not shown; the ledger has them", clock(now))
        }
        Event::Lost { id: None, number } => {
            format!("{} {number} lines are not shown; the ledger has everything", clock(now))
        }
    }
}

fn injected(injection: &Injection) -> String {
    let Injection { at, id, target, fault, event, protocol, source, destination, errno, shadow } =
        injection;
    let mut line = format!("{} {id} {target} {event} {protocol}", clock(*at));
    if let Some(source) = source {
        line += &format!(" {source}");
    }
    if let Some(destination) = destination {
        line += &format!(" → {destination}");
    }
    if let Some(errno) = errno {
        line += &format!(" {errno}");
    }
    if *shadow {
        line += " (shadow)";
    }
    line + &format!("  `{}`", shortened(fault))
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S%.6f").to_string()
}

#[cfg(test)]
mod tests {
    use chaos_agent::control::Endpoint;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_microsecond(3_661_000_250).unwrap()
    }

    #[test]
    fn an_injection_is_one_line() {
        let mut injection = Injection {
            at: at(),
            id: ArmedId("cli:1".to_owned()),
            target: "pid:7".to_owned(),
            fault: "fail connect with EIO".to_owned(),
            event: "connect".to_owned(),
            protocol: "tcp".to_owned(),
            source: None,
            destination: Some(Endpoint { address: [10, 0, 0, 7].into(), port: Some(80) }),
            errno: Some("EIO".to_owned()),
            shadow: false,
        };
        assert_eq!(
            injected(&injection),
            "01:01:01.000250 cli:1 pid:7 connect tcp → 10.0.0.7:80 EIO  `fail connect with EIO`"
        );
        injection.source = Some(Endpoint { address: [10, 0, 0, 1].into(), port: None });
        injection.errno = None;
        injection.shadow = true;
        assert!(injected(&injection).contains("tcp 10.0.0.1 → 10.0.0.7:80 (shadow)  `fail"));
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let lost = Event::Lost { id: Some(ArmedId("cli:1".to_owned())), number: 12 };
        assert!(text(&lost, at()).ends_with("cli:1 12 more are not shown; the ledger has them"));
    }
}
