//! `list`: what a running agent has armed.

use std::{process::ExitCode, time::Duration};

use chaos_agent::control::{Answer, Command};
use chaos_api::{Counts, FaultReport, Phase, TargetReport, clock::boot_now};
use chaos_fault::{print_duration, shortened};

use super::{
    failure::Failure,
    ledger,
    output::{self, Format},
    socket::{SocketArg, failure},
};

/// List what a running agent has armed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: SocketArg,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let mut client = args.socket.connect()?;
    let targets = match client.ask(Command::List).map_err(failure)? {
        Answer::Targets(targets) => targets,
        other => return Err(client.unexpected(&other).into()),
    };
    match format {
        Format::Json => output::json(&targets)?,
        Format::Table if targets.is_empty() => output::note("nothing is armed"),
        Format::Table => output::line(&table(&targets, boot_now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(targets: &[TargetReport], now: u64) -> String {
    let rows = targets.iter().flat_map(|target| {
        target.faults.iter().map(move |fault| {
            let FaultReport { counts, .. } = fault;
            [
                target.id.clone(),
                target.target.clone(),
                shortened(&fault.fault),
                phase(fault.phase).to_owned(),
                counts.matched.to_string(),
                acts(counts),
                ends_in(fault, now),
            ]
        })
    });
    let heading = ["ID", "TARGET", "FAULT", "PHASE", "MATCHED", "INJECTED", "ENDS IN"];
    let unmatched = targets.iter().flat_map(|target| {
        ledger::unmatched(&target.faults).map(move |line| format!("{}: {line}", target.id))
    });
    let unmatched: Vec<String> = unmatched.collect();
    let table = output::table(heading, rows);
    if unmatched.is_empty() { table } else { format!("{table}\n\n{}", unmatched.join("\n")) }
}

/// Shadow faults do nothing, so theirs are not among the injections.
fn acts(counts: &Counts) -> String {
    match counts.shadowed {
        0 => counts.injected.to_string(),
        shadowed => format!("{} (+{shadowed} shadow)", counts.injected),
    }
}

pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Active => "active",
        Phase::Ended => "ended",
    }
}

/// To the second, rounded up: `4m59s`; `-` when its time is up.
pub fn ends_in(fault: &FaultReport, now: u64) -> String {
    match fault.ends.saturating_sub(now).div_ceil(1_000_000_000) {
        0 => "-".to_owned(),
        seconds => print_duration(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use chaos_plan::Hook;

    use super::*;

    fn report(ends: u64, phase: Phase) -> FaultReport {
        FaultReport {
            fault: "drop".to_owned(),
            index: 0,
            hooks: vec![Hook::CgroupSkbEgress],
            calls: Vec::new(),
            seed: 1,
            phase,
            began: 0,
            ends,
            slot: 0,
            notes: Vec::new(),
            unmatched: None,
            counts: Counts { matched: 9, injected: 4, ..Counts::default() },
        }
    }

    #[test]
    fn one_row_a_fault() {
        let target = TargetReport {
            id: "cli:1".to_owned(),
            target: "unit:a.service".to_owned(),
            cgroup: "/a.service".to_owned(),
            missed: 0,
            notes: Vec::new(),
            faults: vec![report(61_500_000_000, Phase::Active), report(1, Phase::Ended)],
        };
        let printed = table(&[target], 1_500_000_000);
        let rows: Vec<Vec<&str>> =
            printed.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["cli:1", "unit:a.service", "drop", "active", "9", "4", "1m"]);
        assert_eq!(rows[1], ["cli:1", "unit:a.service", "drop", "ended", "9", "4", "-"]);
    }

    #[test]
    fn what_nothing_has_matched_is_said_below() {
        let mut fault = report(61_500_000_000, Phase::Active);
        fault.unmatched = Some("it goes over tcp".to_owned());
        let target = TargetReport {
            id: "cli:1".to_owned(),
            target: "unit:a.service".to_owned(),
            cgroup: "/a.service".to_owned(),
            missed: 0,
            notes: Vec::new(),
            faults: vec![fault, report(1, Phase::Ended)],
        };
        let printed = table(&[target], 1_500_000_000);
        let (_, below) = printed.split_once("\n\n").unwrap();
        assert_eq!(below, "cli:1: nothing matched `drop`: it goes over tcp");
    }

    #[test]
    fn what_a_shadow_would_have_done_is_no_injection() {
        let counts = Counts { injected: 2, ..Counts::default() };
        assert_eq!(acts(&counts), "2");
        assert_eq!(acts(&Counts { shadowed: 5, ..counts }), "2 (+5 shadow)");
    }

    #[test]
    fn the_last_second_is_a_second() {
        assert_eq!(ends_in(&report(1_000_000_001, Phase::Active), 1_000_000_000), "1s");
        assert_eq!(ends_in(&report(1_000_000_000, Phase::Ended), 1_000_000_000), "-");
    }
}
