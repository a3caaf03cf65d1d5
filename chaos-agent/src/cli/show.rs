//! `show`: everything about one armed target.

use std::process::ExitCode;

use chaos_agent::control::{Answer, Command};
use chaos_api::{ArmedId, FaultReport, TargetReport, clock::boot_now};
use chaos_fault::shortened;

use super::{
    failure::Failure,
    ledger,
    list::{ends_in, phase},
    output::{self, Format},
    socket::{SocketArg, failure},
};

/// Show everything about one armed target: its faults, their ledgers, hooks and seeds
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
    let report = match client.ask(Command::Show { id }).map_err(failure)? {
        Answer::Target(report) => report,
        other => return Err(client.unexpected(&other).into()),
    };
    match format {
        Format::Json => output::json(&report)?,
        Format::Table => output::line(&text(&report, boot_now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub fn text(report: &TargetReport, now: u64) -> String {
    // How many calls were missed is among the notes.
    let TargetReport { id, target, cgroup, missed: _, notes, faults } = report;
    let mut head = vec![("id", id.clone()), ("target", target.clone()), ("cgroup", cgroup.clone())];
    head.extend(notes.iter().map(|note| ("note", note.clone())));
    let mut paragraphs = vec![output::fields("", head)];
    paragraphs.extend(faults.iter().map(|fault| fault_text(fault, now)));
    paragraphs.join("\n\n")
}

fn fault_text(report: &FaultReport, now: u64) -> String {
    let FaultReport { fault, hooks, calls, seed, counts, notes, .. } = report;
    let phase = match ends_in(report, now).as_str() {
        "-" => phase(report.phase).to_owned(),
        ends_in => format!("{}, ends in {ends_in}", phase(report.phase)),
    };
    let hooks: Vec<&str> =
        hooks.iter().map(|hook| hook.name()).chain(calls.iter().map(String::as_str)).collect();
    let mut fields = vec![
        ("phase", phase),
        ("hooks", hooks.join(", ")),
        ("seed", seed.to_string()),
        ("matched", counts.matched.to_string()),
        ("injected", counts.injected.to_string()),
        ("shadowed", counts.shadowed.to_string()),
        ("spared", ledger::spared(counts)),
    ];
    fields.extend(notes.iter().map(|note| ("note", note.clone())));
    let unmatched = report.unmatched.iter();
    fields.extend(unmatched.map(|reasons| ("note", format!("nothing matched: {reasons}"))));
    format!("{}\n{}", shortened(fault), output::fields("  ", fields))
}
