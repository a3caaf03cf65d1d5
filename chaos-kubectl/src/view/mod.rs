//! Renders Runs for people. Pure: text from objects, a moment and a width.

mod checks;
mod frame;
mod list;
mod plain;
mod planned;
#[cfg(test)]
mod tests;
mod why;

use std::time::Duration;

use anstyle::Style;
use chaos_api::kinds::{LedgerSums, Mode, Reason, Run, RunPhase, RunStatus, StepPhase};
use chaos_fault::print_duration;
pub use checks::checks;
pub use frame::frame;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use list::{list, phase_word};
pub use plain::{changes, ledger_line};
pub use planned::planned;
pub use why::why;

use crate::text::{GREEN, RED, YELLOW, number};

/// The annotation of a Run that says why it was halted.
pub const HALT_REASON: &str = "chaos-agent.dev/halt-reason";

/// What is said of a run that has ended: whether the kernels prove it.
pub fn verdict(status: &RunStatus) -> Option<String> {
    let (verdict, reason) = (status.verdict?, status.verdict_reason?);
    Some(format!("verdict: {verdict:?} ({reason:?}), {}", status.verdict_message))
}

/// Why somebody halted a Run, as far as it was said.
pub fn halt_reason(run: &Run) -> Option<&str> {
    let annotations = run.metadata.annotations.as_ref()?;
    annotations.get(HALT_REASON).map(String::as_str)
}

/// How a Run stands, in one word, and its colour.
fn state(run: &Run) -> (String, Style) {
    let Some(status) = &run.status else {
        return ("Pending".to_owned(), YELLOW);
    };
    match (status.phase, status.reason) {
        (RunPhase::Baseline | RunPhase::Running | RunPhase::Recovering, _) if run.spec.halt => {
            ("Halting".to_owned(), YELLOW)
        }
        (phase @ (RunPhase::Baseline | RunPhase::Recovering), _) => (format!("{phase:?}"), GREEN),
        (RunPhase::Running, _) => ("Running".to_owned(), GREEN),
        (RunPhase::Finished, None) => ("Finished".to_owned(), Style::new()),
        (RunPhase::Finished, Some(reason)) => {
            let style = match reason {
                Reason::Completed | Reason::Planned => GREEN,
                Reason::Refused
                | Reason::StepFailed
                | Reason::BaselineBroken
                | Reason::ProbeBroke
                | Reason::ProbeBlind => RED,
                Reason::Halted | Reason::ExperimentDeleted => YELLOW,
            };
            (format!("{reason:?}"), style)
        }
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::Shadow => "shadow",
        Mode::Armed => "armed",
    }
}

fn step_word(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Pending => "pending",
        StepPhase::Running => "running",
        StepPhase::Done => "done",
        StepPhase::Failed => "failed",
        StepPhase::Skipped => "skipped",
    }
}

/// How long it is until a moment, to the second, rounded up.
fn until(end: &Time, now: Timestamp) -> Option<String> {
    let left = end.0.duration_since(now).as_millis();
    let seconds = u64::try_from(left).ok().filter(|left| *left > 0)?.div_ceil(1000);
    Some(print_duration(Duration::from_secs(seconds)))
}

/// How long ago a moment was: `12s`, `3m`, `4h`, `2d`.
pub fn age(begin: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(begin).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What faults did, with nothing that is zero but what counts most.
fn ledger(sums: &LedgerSums, mode: Mode) -> String {
    let LedgerSums { matched, injected, shadowed, spared, lost, .. } = *sums;
    let mut parts = vec![format!("matched {}", number(matched))];
    match mode {
        Mode::Shadow => parts.push(format!("shadowed {}", number(shadowed))),
        Mode::Plan | Mode::Armed => parts.push(format!("injected {}", number(injected))),
    }
    parts.push(format!("spared {}", number(spared)));
    if lost > 0 {
        parts.push(format!("lost {}", number(lost)));
    }
    parts.join("  ")
}

/// What a Run runs.
fn source(run: &Run) -> &str {
    run.spec.experiment.as_deref().unwrap_or("inline")
}
