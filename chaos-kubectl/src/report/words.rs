//! Words what every form of a report says.

use chaos_api::kinds::{Hypothesis, LedgerSums, Mode, StepPhase, Verdict};
use chaos_controller::counted;
use chaos_fault::print_duration;
use jiff::Timestamp;

use super::model::{Judged, Report, StepReport};
use crate::text::number;

/// How a Run ended, in some words: `Confirmed, Held`.
pub fn outcome(report: &Report) -> String {
    let verdict = report.verdict.result.map(|verdict| format!("{verdict:?}"));
    let hypothesis = report.hypothesis.judged.result.map(|hypothesis| format!("{hypothesis:?}"));
    let judged: Vec<String> = verdict.into_iter().chain(hypothesis).collect();
    match (report.mode, judged.is_empty()) {
        (Mode::Plan, _) | (_, true) => report.state(),
        (Mode::Shadow | Mode::Armed, false) => judged.join(", "),
    }
}

/// What is said first: names and values.
pub fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let judged = |word: &str, reason: &str, message: &str| {
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        format!("{word} ({reason}){message}")
    };
    let Judged { result, reason, message } = &report.verdict;
    if let (Some(result), Some(reason)) = (result, reason) {
        rows.push(("Verdict", judged(&format!("{result:?}"), &format!("{reason:?}"), message)));
    }
    let Judged { result, reason, message } = &report.hypothesis.judged;
    match (result, reason) {
        (Some(result), Some(reason)) => {
            rows.push((
                "Hypothesis",
                judged(&format!("{result:?}"), &format!("{reason:?}"), message),
            ));
        }
        _ if report.probes.is_empty() => {
            rows.push(("Hypothesis", "not judged: there are no probes".to_owned()));
        }
        _ => {}
    }
    let halted = report.halt_reason.as_ref().map(|reason| format!(" ({reason})"));
    let message = match report.message.as_str() {
        "" => report.state(),
        message => format!("{}: {message}", report.state()),
    };
    rows.push(("State", format!("{message}{}", halted.unwrap_or_default())));
    let what = report.experiment.as_deref().unwrap_or("inline");
    let mode = match report.mode {
        Mode::Plan => "plan",
        Mode::Shadow => "shadow",
        Mode::Armed => "armed",
    };
    rows.push(("Experiment", format!("{what}, {mode}")));
    if let Some(started) = report.started {
        let lasted = report.lasted().and_then(|lasted| lasted.try_into().ok());
        let lasted = lasted.map(|lasted| format!(", for {}", print_duration(lasted)));
        rows.push(("Time", format!("{} UTC{}", date(started), lasted.unwrap_or_default())));
    }
    let picked = report.steps.iter().map(|step| step.picked).max().unwrap_or(0);
    let pods = counted(report.targets.selected, "pod");
    let nodes = counted(report.targets.nodes, "node");
    rows.push(("Targets", format!("{picked} picked of {pods}, on {nodes}")));
    let ledger = report.ledger;
    let mut counts = vec![format!("matched {}", number(ledger.matched))];
    for (word, value) in [
        ("injected", ledger.injected),
        ("shadowed", ledger.shadowed),
        ("spared", ledger.spared),
        ("lost", ledger.lost),
    ] {
        if value > 0 || word == "injected" && report.mode == Mode::Armed {
            counts.push(format!("{word} {}", number(value)));
        }
    }
    rows.push(("Ledger", counts.join(", ")));
    rows.extend(report.exit_code.map(|code| ("Exit code", code.to_string())));
    rows
}

/// The word and the class of how far a step came. One that has no failure of its own ended with its Run.
pub fn phase(step: &StepReport) -> (&'static str, &'static str) {
    match (step.phase, &step.failure) {
        (StepPhase::Done, _) => ("done", "good"),
        (StepPhase::Failed, Some(_)) => ("failed", "bad"),
        (StepPhase::Failed, None) => ("cut short", "warn"),
        (StepPhase::Running, _) => ("running", "warn"),
        (StepPhase::Skipped, _) => ("skipped", "dim"),
        (StepPhase::Pending, _) => ("not begun", "dim"),
    }
}

/// What the events are called that count in a mode, and how many of a ledger's they are.
pub fn hits(mode: Mode) -> (&'static str, fn(&LedgerSums) -> u64) {
    match mode {
        Mode::Shadow => ("Shadowed", |ledger| ledger.shadowed),
        Mode::Plan | Mode::Armed => ("Injected", |ledger| ledger.injected),
    }
}

/// How many pods a step broke or removed.
pub fn pods_of(step: &StepReport) -> String {
    match (step.picked, step.removes) {
        (0, _) => String::new(),
        (picked, true) => format!("{} of {picked} removed", step.done),
        (picked, false) => format!("{} of {picked} armed", step.done),
    }
}

pub fn number_or_none(value: u64) -> String {
    if value == 0 { String::new() } else { number(value) }
}

/// What is said of lines for which there was no room.
pub fn cut(lines: u64) -> String {
    format!("{} had no room in the report of the controller.", counted(lines, "line"))
}

/// `10:09:00`.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// `2026-11-28 10:09:00`.
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `10:09:00 to 10:14:00`.
pub fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{} to {}", clock(from), clock(to)),
        (Some(from), None) => format!("from {}", clock(from)),
        (None, _) => String::new(),
    }
}

/// The word and the class of a judgement of the service.
pub fn hypothesis(hypothesis: Hypothesis) -> (&'static str, &'static str) {
    match hypothesis {
        Hypothesis::Held => ("held", "good"),
        Hypothesis::Deviated => ("deviated", "bad"),
        Hypothesis::Unknown => ("unknown", "dim"),
    }
}

/// The same of the injection.
pub fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Confirmed => ("Confirmed", "good"),
        Verdict::Mismatch => ("Mismatch", "bad"),
        Verdict::Inconclusive => ("Inconclusive", "warn"),
    }
}
