//! Tells what has happened to a run between two statuses: as events of the Kubernetes API, which `kubectl describe run`
//! shows, and as lines of its report.

use chaos_api::kinds::{During, Probe, ProbeStatus, Reason, RunPhase, RunStatus, StepPhase};
use kube::runtime::events::{Event, EventType};

/// An event's note has at most 1024 bytes.
const MAX_NOTE: usize = 1024;

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// A word in CamelCase.
    pub what: &'static str,
    pub is_warning: bool,
    pub step: Option<String>,
    pub message: String,
}

/// What is worth an event between two statuses.
pub fn between(before: Option<&RunStatus>, now: &RunStatus) -> Vec<Happening> {
    let mut all = Vec::new();
    let phase = before.map(|before| before.phase);
    if phase != Some(now.phase) {
        all.extend(of_phase(phase, now.phase));
    }
    for index in 0..now.steps.len() {
        all.extend(of_step(index, before, now));
    }
    for (index, probe) in now.probes.iter().enumerate() {
        let had_broken = before.and_then(|before| before.probes.get(index)).map(|one| one.broke);
        if probe.broke > 0 && had_broken.unwrap_or(0) == 0 {
            let probes = now.spec.iter().flat_map(|spec| &spec.probes);
            all.push(of_probe(probe, probes.into_iter().find(|one| one.name == probe.name)));
        }
    }
    if now.phase == RunPhase::Running && before.and_then(|before| before.reason) != now.reason {
        all.extend(now.reason.and_then(|reason| of_decision(reason, &now.message)));
    }
    if now.phase == RunPhase::Finished && phase != Some(RunPhase::Finished) {
        all.extend(of_recovery(now));
        all.extend(now.reason.map(|reason| of_end(reason, &now.message)));
    }
    all
}

fn happening(what: &'static str, is_warning: bool, message: impl Into<String>) -> Happening {
    Happening { what, is_warning, step: None, message: message.into() }
}

fn of_phase(before: Option<RunPhase>, now: RunPhase) -> Option<Happening> {
    let (what, message) = match (before, now) {
        (_, RunPhase::Baseline) => ("Baseline", "the probes are asked before anything is broken"),
        (Some(RunPhase::Baseline), RunPhase::Running) => ("Steady", "every probe holds"),
        (_, RunPhase::Recovering) => ("Recovering", "every probe must hold again"),
        (_, RunPhase::Running | RunPhase::Finished) => return None,
    };
    Some(happening(what, false, message))
}

fn of_step(index: usize, before: Option<&RunStatus>, now: &RunStatus) -> Option<Happening> {
    let step = &now.steps[index];
    let earlier = before.and_then(|before| before.steps.get(index)).map(|step| step.phase);
    if earlier == Some(step.phase) {
        return None;
    }
    let name = &step.name;
    let told = match step.phase {
        StepPhase::Pending => return None,
        StepPhase::Running if step.picked > 0 => {
            let message = format!("step {name}: {} pods are picked", step.picked);
            happening("StepStarted", false, message)
        }
        StepPhase::Running => happening("StepStarted", false, format!("step {name}")),
        StepPhase::Done => {
            let spec = now.spec.as_ref().and_then(|spec| spec.steps.get(index));
            let message = if spec.is_some_and(|spec| spec.pods.is_some()) {
                format!("step {name}: {} pods", step.picked)
            } else if spec.is_some_and(|spec| spec.check.is_some()) {
                format!("step {name}: the probes held")
            } else {
                format!("step {name}: injected {}", step.ledger.injected)
            };
            happening("StepEnded", false, message)
        }
        StepPhase::Failed => happening("StepFailed", true, format!("step {name}")),
        StepPhase::Skipped => {
            happening("StepSkipped", false, format!("step {name}: its `if` did not hold"))
        }
    };
    Some(Happening { step: Some(name.clone()), ..told })
}

/// A probe that has failed while pods were broken.
fn of_probe(probe: &ProbeStatus, asked: Option<&Probe>) -> Happening {
    let is_warning = match asked.map_or(During::Halt, |asked| asked.during) {
        During::Halt | During::Record => true,
        During::MustBreak => false,
    };
    happening("ProbeBroke", is_warning, format!("probe {}: {}", probe.name, probe.worst))
}

/// Why a run is being ended.
fn of_decision(reason: Reason, message: &str) -> Option<Happening> {
    match reason {
        Reason::ProbeBlind => Some(happening("ProbeBlind", true, message)),
        // Told of the probe.
        Reason::ProbeBroke
        | Reason::Completed
        | Reason::Planned
        | Reason::Refused
        | Reason::StepFailed
        | Reason::BaselineBroken
        | Reason::Halted
        | Reason::ExperimentDeleted => None,
    }
}

fn of_recovery(now: &RunStatus) -> Option<Happening> {
    now.recovering.as_ref()?;
    let condition = now.conditions.iter().find(|condition| condition.type_ == "Recovered")?;
    let (what, is_warning) = match condition.status.as_str() {
        "True" => ("Recovered", false),
        _ => ("NotRecovered", true),
    };
    Some(happening(what, is_warning, condition.message.clone()))
}

fn of_end(reason: Reason, message: &str) -> Happening {
    let (is_warning, what) = match reason {
        Reason::Completed => (false, "Completed"),
        Reason::Planned => (false, "Planned"),
        Reason::Refused => (true, "PlanRefused"),
        Reason::StepFailed => (true, "Failed"),
        Reason::BaselineBroken => (true, "BaselineBroken"),
        Reason::Halted | Reason::ExperimentDeleted | Reason::ProbeBroke | Reason::ProbeBlind => {
            (false, "Halted")
        }
    };
    happening(what, is_warning, message)
}

/// An event of the Kubernetes API.
pub fn event(happening: Happening) -> Event {
    let Happening { what, is_warning, message: mut note, .. } = happening;
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    Event {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason: what.to_owned(),
        note: Some(note),
        action: "Run".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(status: Value) -> RunStatus {
        serde_json::from_value(status).unwrap()
    }

    fn status(phase: &str, step: &str) -> RunStatus {
        let reason = (phase == "Finished").then_some("Halted");
        read(json!({
            "phase": phase, "reason": reason, "message": "é".repeat(900),
            "steps": [{ "name": "slow", "phase": step, "picked": 3 }],
        }))
    }

    fn told(before: Option<&RunStatus>, now: &RunStatus) -> Vec<&'static str> {
        between(before, now).into_iter().map(|one| one.what).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let running = status("Running", "Running");
        assert_eq!(told(None, &running), ["StepStarted"]);
        assert_eq!(told(Some(&running), &running), [] as [&str; 0]);
        let finished = status("Finished", "Failed");
        assert_eq!(told(Some(&running), &finished), ["StepFailed", "Halted"]);
        assert_eq!(told(Some(&finished), &finished), [] as [&str; 0]);
        let note = between(Some(&running), &finished).pop().and_then(|one| event(one).note);
        assert_eq!(note.unwrap().len(), MAX_NOTE);
    }

    #[test]
    fn what_probes_decide_is_told() {
        let of = |phase: &str, reason: Option<&str>, step: &str, broke: u32| {
            let recovered = json!([{ "type": "Recovered", "status": "True", "reason": "Recovered",
                "message": "every probe holds again", "lastTransitionTime": "2026-11-28T10:00:00Z" }]);
            let is_after = ["Recovering", "Finished"].contains(&phase);
            read(json!({
                "phase": phase, "reason": reason, "steps": [{ "name": "slow", "phase": step }],
                "probes": [{ "name": "web", "broke": broke, "worst": "500, 2ms" }],
                "recovering": is_after.then_some("2026-11-28T10:00:00Z"),
                "conditions": if is_after { recovered } else { json!([]) },
            }))
        };
        let baseline = of("Baseline", None, "Pending", 0);
        assert_eq!(told(None, &baseline), ["Baseline"]);
        let running = of("Running", None, "Running", 0);
        assert_eq!(told(Some(&baseline), &running), ["Steady", "StepStarted"]);
        let broken = of("Running", Some("ProbeBroke"), "Running", 1);
        assert_eq!(told(Some(&running), &broken), ["ProbeBroke"]);
        let blind = of("Running", Some("ProbeBlind"), "Running", 0);
        assert_eq!(told(Some(&running), &blind), ["ProbeBlind"]);
        let recovering = of("Recovering", Some("ProbeBroke"), "Failed", 2);
        assert_eq!(told(Some(&broken), &recovering), ["Recovering", "StepFailed"]);
        let finished = of("Finished", Some("ProbeBroke"), "Failed", 2);
        assert_eq!(told(Some(&recovering), &finished), ["Recovered", "Halted"]);
        let refused = of("Finished", Some("BaselineBroken"), "Pending", 0);
        let refused = RunStatus { recovering: None, ..refused };
        assert_eq!(told(Some(&baseline), &refused), ["BaselineBroken"]);
    }
}
