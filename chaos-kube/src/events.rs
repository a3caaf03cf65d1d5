//! Events of the Kubernetes API, as `kubectl describe pod` shows them.

use kube::runtime::events::{Event, EventType};

use super::status::{PodPhase, Status};

/// An event's note has at most 1024 bytes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const MAX_NOTE: usize = 1024;

/// What is worth an event between two answers: that faults were armed, refused, or ended.
pub(super) fn event(before: Option<&Status>, now: &Status) -> Option<Event> {
    let same = |before: &Status| before.phase == now.phase && before.observed == now.observed;
    if before.is_some_and(same) {
        return None;
    }
    let (type_, reason, action, note) = match now.phase {
        PodPhase::Waiting => return None,
        PodPhase::Armed => (EventType::Normal, "FaultsArmed", "Arm", armed(now)),
        PodPhase::Refused => {
            (EventType::Warning, "FaultsRefused", "Refuse", now.messages.join("\n"))
        }
        PodPhase::Ended => (EventType::Normal, "FaultsEnded", "Disarm", ended(now)),
    };
    let mut note = note;
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    Some(Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    })
}

fn armed(status: &Status) -> String {
    let sentences: Vec<&str> = status.faults.iter().map(|fault| fault.fault.as_str()).collect();
    sentences.join("; ")
}

fn ended(status: &Status) -> String {
    let ledgers = status.faults.iter().map(|fault| {
        format!(
            "{}: matched {}, injected {}",
            fault.fault, fault.counts.matched, fault.counts.injected
        )
    });
    status.messages.iter().cloned().chain(ledgers).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::FaultStatus;

    fn status(phase: PodPhase, text: &str) -> Status {
        let faults = vec![FaultStatus::new("drop egress".into())];
        Status::new(phase, Some(text.into()), faults, vec!["why".into()])
    }

    #[test]
    fn only_changes_are_told() {
        let reason =
            |before: Option<&Status>, now: &Status| event(before, now).map(|event| event.reason);
        let armed = status(PodPhase::Armed, "1");
        assert_eq!(reason(None, &armed).as_deref(), Some("FaultsArmed"));
        assert_eq!(reason(Some(&armed), &armed), None);
        assert!(reason(Some(&armed), &status(PodPhase::Armed, "2")).is_some());
        let ended = event(Some(&armed), &status(PodPhase::Ended, "1")).unwrap();
        assert_eq!(ended.note.as_deref(), Some("why; drop egress: matched 0, injected 0"));
        assert_eq!(reason(None, &status(PodPhase::Waiting, "1")), None);
    }

    #[test]
    fn notes_are_cut_to_what_the_api_takes() {
        let mut refused = status(PodPhase::Refused, "1");
        refused.messages = vec!["é".repeat(900)];
        let note = event(None, &refused).unwrap().note.unwrap();
        assert_eq!(note.len(), MAX_NOTE);
    }
}
