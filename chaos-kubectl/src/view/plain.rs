//! Renders what has changed of a Run, as lines for a pipe or a log.

use chaos_api::kinds::{Run, RunPhase, RunStatus, StepPhase, TargetCounts};
use kube::ResourceExt as _;

use super::{halt_reason, ledger, state, step_word, verdict};
use crate::text::count;

/// Lines about what is other than before; none where only the ledger has moved.
pub fn changes(before: Option<&Run>, after: &Run) -> Vec<String> {
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
            lines.push(line);
        }
    }
    let counts = |status: &RunStatus| (status.summary.targets.clone(), status.targets);
    if earlier.map(counts) != Some(counts(status)) && !status.summary.targets.is_empty() {
        lines.push(targets(status));
    }
    let known = earlier.map(|status| &status.exceptions);
    for one in &status.exceptions {
        let is_new =
            known.is_none_or(|known| known.iter().all(|other| other.message != one.message));
        if is_new {
            let pods = count(one.count, "pod");
            lines.push(format!("{pods}: {} (such as {})", one.message, one.example));
        }
    }
    let was_running = earlier.is_none_or(|status| status.phase != RunPhase::Finished);
    if status.phase == RunPhase::Finished && was_running {
        lines.push(ledger_line(after).unwrap_or_default());
        let reason = halt_reason(after).map(|reason| format!(" ({reason})")).unwrap_or_default();
        lines.push(format!("{}: {}{reason}", state(after).0, status.message));
        lines.extend(verdict(status));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The sums of a Run that has matched something.
pub fn ledger_line(run: &Run) -> Option<String> {
    let status = run.status.as_ref().filter(|status| status.ledger.matched > 0)?;
    Some(ledger(&status.ledger, run.spec.mode))
}

fn targets(status: &RunStatus) -> String {
    let TargetCounts { waiting, refused, .. } = status.targets;
    let mut line = format!("{} armed", status.summary.targets);
    for (number, word) in [(waiting, "waiting"), (refused, "refused")] {
        if number > 0 {
            line.push_str(&format!(", {number} {word}"));
        }
    }
    line
}
