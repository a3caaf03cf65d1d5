//! Events of the Kubernetes API about a run, as `kubectl describe run` shows them.

use chaos_api::kinds::{Reason, RunPhase, RunStatus, StepPhase};
use kube::runtime::events::{Event, EventType};

/// An event's note has at most 1024 bytes.
const MAX_NOTE: usize = 1024;

/// What is worth an event between two statuses.
pub fn between(before: Option<&RunStatus>, now: &RunStatus) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, step) in now.steps.iter().enumerate() {
        let earlier = before.and_then(|before| before.steps.get(index)).map(|step| step.phase);
        if earlier == Some(step.phase) {
            continue;
        }
        let name = &step.name;
        match step.phase {
            StepPhase::Pending => {}
            StepPhase::Running if step.picked > 0 => {
                let note = format!("step {name}: {} pods are picked", step.picked);
                events.push(event(EventType::Normal, "StepStarted", note));
            }
            StepPhase::Running => {
                events.push(event(EventType::Normal, "StepStarted", format!("step {name}")));
            }
            StepPhase::Done => {
                let spec = now.spec.as_ref().and_then(|spec| spec.steps.get(index));
                let note = if spec.is_some_and(|spec| spec.pods.is_some()) {
                    format!("step {name}: {} pods", step.picked)
                } else {
                    format!("step {name}: injected {}", step.ledger.injected)
                };
                events.push(event(EventType::Normal, "StepEnded", note));
            }
            StepPhase::Failed => {
                events.push(event(EventType::Warning, "StepFailed", format!("step {name}")));
            }
        }
    }
    let is_news = before.is_none_or(|before| before.phase != now.phase);
    if let Some(reason) = now.reason.filter(|_| is_news && now.phase == RunPhase::Finished) {
        let (type_, word) = match reason {
            Reason::Completed => (EventType::Normal, "Completed"),
            Reason::Planned => (EventType::Normal, "Planned"),
            Reason::Refused => (EventType::Warning, "PlanRefused"),
            Reason::StepFailed => (EventType::Warning, "Failed"),
            Reason::Halted | Reason::ExperimentDeleted => (EventType::Normal, "Halted"),
        };
        events.push(event(type_, word, now.message.clone()));
    }
    events
}

fn event(type_: EventType, reason: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Run".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(phase: &str, step: &str) -> RunStatus {
        let reason = (phase == "Finished").then_some("Halted");
        serde_json::from_value(json!({
            "phase": phase, "reason": reason, "message": "é".repeat(900),
            "steps": [{ "name": "slow", "phase": step, "picked": 3 }],
        }))
        .unwrap()
    }

    #[test]
    fn each_change_is_told_once() {
        let told = |before: Option<&RunStatus>, now: &RunStatus| -> Vec<String> {
            between(before, now).into_iter().map(|event| event.reason).collect()
        };
        let running = status("Running", "Running");
        assert_eq!(told(None, &running), ["StepStarted"]);
        assert_eq!(told(Some(&running), &running), [] as [&str; 0]);
        let finished = status("Finished", "Failed");
        assert_eq!(told(Some(&running), &finished), ["StepFailed", "Halted"]);
        assert_eq!(told(Some(&finished), &finished), [] as [&str; 0]);
        let note = between(Some(&running), &finished).pop().and_then(|event| event.note);
        assert_eq!(note.unwrap().len(), MAX_NOTE);
    }
}
