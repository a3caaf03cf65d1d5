//! Renders Runs for people. Pure: text from objects, a moment and a width.

mod checks;
mod frame;
mod list;
mod plain;
mod planned;
mod probes;
#[cfg(test)]
mod tests;
mod top;
mod why;

use std::time::Duration;

use anstyle::Style;
use chaos_api::kinds::{
    CheckStep, FaultStep, LedgerSums, Mode, PodAction, PodsStep, Reason, Run, RunPhase, RunStatus,
    Step, StepPhase, WaitStep,
};
use chaos_fault::print_duration;
pub use checks::checks;
pub use frame::{frame, silence};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use list::{list, phase_word};
pub use plain::{changes, ledger_line};
pub use planned::planned;
pub use probes::{is_time, number_in_words};
pub use top::{Going, goes_on, hits, screenful, sums, top};
pub use why::why;

use crate::{
    printable::in_one_line,
    text::{GREEN, RED, YELLOW, number},
};

/// The annotation of a Run that says why it was halted.
pub const HALT_REASON: &str = "chaos-agent.dev/halt-reason";

/// What is said of a run that has ended: whether the kernels prove it.
pub fn verdict(status: &RunStatus) -> Option<String> {
    let (verdict, reason) = (status.verdict?, status.verdict_reason?);
    Some(format!("verdict: {verdict:?} ({reason:?}), {}", status.verdict_message))
}

/// What is said of the service, by the probes.
pub fn hypothesis(status: &RunStatus) -> Option<String> {
    let (hypothesis, reason) = (status.hypothesis?, status.hypothesis_reason?);
    Some(format!("hypothesis: {hypothesis:?} ({reason:?}), {}", status.hypothesis_message))
}

/// Why somebody halted a Run, as far as it was said.
pub fn halt_reason(run: &Run) -> Option<&str> {
    let annotations = run.metadata.annotations.as_ref()?;
    annotations.get(HALT_REASON).map(String::as_str)
}

/// How long the step that runs takes.
fn left(run: &Run, now: Timestamp) -> String {
    let status = run.status.as_ref();
    let goes_on = status.filter(|status| status.phase != RunPhase::Finished);
    let steps = goes_on.iter().flat_map(|status| &status.steps);
    let mut running = steps.filter(|step| step.phase == StepPhase::Running);
    let ends = running.find_map(|step| step.ends.as_ref());
    ends.and_then(|ends| until(ends, now)).unwrap_or_default()
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
        (RunPhase::Baseline, _) => ("Baseline".to_owned(), GREEN),
        (RunPhase::Running, _) => ("Running".to_owned(), GREEN),
        (RunPhase::Recovering, _) => ("Recovering".to_owned(), YELLOW),
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

/// What a step does, in one line.
pub fn in_words(step: &Step) -> String {
    let deed = match step {
        Step { fault: Some(FaultStep { target, sentences, duration }), .. } => {
            let lines = sentences.lines().map(str::trim).filter(|line| !line.is_empty());
            let sentences = lines.collect::<Vec<_>>().join("; ");
            format!("{sentences} for {duration} on {target}")
        }
        Step { pods: Some(PodsStep { target, action, grace_period }), .. } => {
            let grace = grace_period.as_ref().map(|grace| format!(", {grace} to end"));
            format!("{} pods of {target}{}", action_word(*action), grace.unwrap_or_default())
        }
        Step { check: Some(CheckStep { probes, duration }), .. } => {
            format!("check that {} for {duration}", held(probes))
        }
        Step { wait: Some(WaitStep { duration }), .. } => format!("wait {duration}"),
        Step { fault: None, pods: None, check: None, wait: None, .. } => String::new(),
    };
    let condition = step.condition.as_ref().map(|condition| format!(", if {condition}"));
    in_one_line(&format!("{deed}{}", condition.unwrap_or_default()))
}

/// The step of that name, as the Run does it.
fn deed<'r>(run: &'r Run, status: &'r RunStatus, name: &str) -> Option<&'r Step> {
    let spec = status.spec.as_ref().or(run.spec.inline.as_ref())?;
    spec.steps.iter().find(|step| step.name == name)
}

fn held(probes: &[String]) -> String {
    let holds = if probes.len() == 1 { "holds" } else { "hold" };
    format!("{} {holds}", probes.join(", "))
}

fn action_word(action: PodAction) -> &'static str {
    match action {
        PodAction::Delete => "delete",
        PodAction::Evict => "evict",
        PodAction::Restart => "restart",
    }
}

/// What is said of the pods of a step that have done as they were told.
fn done_word(step: &Step) -> &'static str {
    if step.pods.is_some() { "removed" } else { "armed" }
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
