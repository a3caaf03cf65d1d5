//! Renders what has changed of a Run, as lines for a pipe or a log.

use chaos_api::kinds::{ProbeStatus, Run, RunPhase, RunStatus, StepPhase, TargetCounts};
use chaos_controller::counted;
use kube::ResourceExt as _;

use super::{
    deed, done_word, halt_reason, hypothesis, in_words, ledger, probes::state_word, state,
    step_word, verdict,
};
use crate::printable::{Printable, in_one_line};

/// Lines about what is other than before; none where only the ledger has moved.
pub fn changes(before: Option<&Printable<Run>>, after: &Printable<Run>) -> Vec<String> {
    let after: &Run = after;
    let empty = Vec::new();
    let earlier = before.and_then(|run| run.status.as_ref());
    let Some(status) = &after.status else {
        return match before {
            None => vec![format!("{}: no controller has taken it up yet", after.name_any())],
            Some(_) => Vec::new(),
        };
    };
    let mut lines = Vec::new();
    let steps = earlier.map_or(&empty, |status| &status.steps);
    for step in &status.steps {
        let was = steps.iter().find(|one| one.name == step.name).map(|one| one.phase);
        if was != Some(step.phase) && step.phase != StepPhase::Pending {
            let mut line = format!("step {}: {}", step.name, step_word(step.phase));
            if let (StepPhase::Running, Some(ends)) = (step.phase, &step.ends) {
                line.push_str(&format!(" until {}", ends.0));
            }
            if let (StepPhase::Running, Some(deed)) = (step.phase, deed(after, status, &step.name))
            {
                line.push_str(&format!(", {}", in_words(deed)));
            }
            lines.push(line);
        }
    }
    let counts = |status: &RunStatus| (status.summary.targets.clone(), status.targets);
    if earlier.map(counts) != Some(counts(status)) && !status.summary.targets.is_empty() {
        lines.push(targets(after, status));
    }
    lines.extend(probes(earlier, status));
    let known = earlier.map(|status| &status.exceptions);
    for one in &status.exceptions {
        let is_new =
            known.is_none_or(|known| known.iter().all(|other| other.message != one.message));
        if is_new {
            let pods = counted(one.count, "pod");
            lines.push(format!("{pods}: {} (such as {})", one.message, one.example));
        }
    }
    if earlier.map(|status| status.phase) != Some(status.phase) {
        match status.phase {
            RunPhase::Baseline => {
                lines.push("the probes are asked before anything is broken".to_owned())
            }
            RunPhase::Recovering => {
                lines.push("every step has ended; the probes must hold again".to_owned())
            }
            RunPhase::Running | RunPhase::Finished => {}
        }
    }
    let went_on = earlier.is_none_or(|status| status.phase != RunPhase::Finished);
    if status.phase == RunPhase::Finished && went_on {
        lines.push(ledger_line(after).unwrap_or_default());
        let reason = halt_reason(after).map(|reason| format!(" ({reason})")).unwrap_or_default();
        lines.push(format!("{}: {}{reason}", state(after).0, status.message));
        lines.extend(verdict(status));
        lines.extend(hypothesis(status));
    }
    lines.retain(|line| !line.is_empty());
    lines.iter().map(|line| in_one_line(line)).collect()
}

/// Probes of which something else came than before.
fn probes(earlier: Option<&RunStatus>, status: &RunStatus) -> Vec<String> {
    let state = |name: &str| {
        let mut probes = earlier.iter().flat_map(|status| &status.probes);
        probes.find(|probe| probe.name == name).map(|probe| probe.state)
    };
    let is_news = |probe: &&ProbeStatus| state(&probe.name).unwrap_or_default() != probe.state;
    let line = |probe: &ProbeStatus| {
        let checks = counted(probe.checks, "check");
        let mut line = format!("probe {}: {} after {checks}", probe.name, state_word(probe.state));
        if !probe.last.is_empty() {
            line.push_str(&format!(" ({})", probe.last));
        }
        line
    };
    status.probes.iter().filter(is_news).map(line).collect()
}

/// The sums of a Run that has matched something.
pub fn ledger_line(run: &Run) -> Option<String> {
    let status = run.status.as_ref().filter(|status| status.ledger.matched > 0)?;
    Some(ledger(&status.ledger, run.spec.mode))
}

fn targets(run: &Run, status: &RunStatus) -> String {
    let TargetCounts { waiting, refused, .. } = status.targets;
    let last =
        status.steps.iter().rev().find(|step| step.phase != StepPhase::Pending && step.picked > 0);
    let deed = last.and_then(|step| deed(run, status, &step.name));
    let mut line = format!("{} {}", status.summary.targets, deed.map_or("armed", done_word));
    for (number, word) in [(waiting, "waiting"), (refused, "refused")] {
        if number > 0 {
            line.push_str(&format!(", {number} {word}"));
        }
    }
    line
}
