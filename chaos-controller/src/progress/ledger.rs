//! Judges what the kernels have counted, once: when every step was done. Where nothing was counted, nobody can tell.

use chaos_api::kinds::{LedgerSums, RunStatus, StepPhase, StepStatus};
use chaos_probe::{Outcome, Sample, judge_ledger};

use super::Turn;
use crate::{
    ledger::sum,
    script::{Deed, Script},
};

impl Turn<'_> {
    /// Judges the probes of ledgers that are not judged yet.
    pub(super) fn judge_ledgers(&mut self, script: &Script, status: &mut RunStatus) {
        for (index, probing) in script.probes.iter().enumerate() {
            let Some(ledger) = &probing.probe.ledger else { continue };
            if status.probes.get(index).is_some_and(|probe| probe.checks > 0) {
                continue;
            }
            let at = self.observed.now;
            let sample = match counted(script, status, ledger.step.as_deref()) {
                Ok(sums) => judge_ledger(&probing.probe, &sums, at),
                Err(seen) => Sample { at, outcome: Outcome::Error, value: None, seen },
            };
            let uid = &self.identity.uid;
            status.probes = self.memory.watches.judge(uid, probing, &sample);
            self.memory.reports.note_sample(uid, &probing.probe.name, &sample);
        }
    }
}

/// What was counted in one step, or in all of them. Why nobody knows, if so.
fn counted(script: &Script, status: &RunStatus, step: Option<&str>) -> Result<LedgerSums, String> {
    let acts = script.steps.iter().zip(&status.steps);
    let faults = acts.filter(|(act, _)| matches!(act.deed, Deed::Fault { .. }));
    let asked = faults.map(|(_, step)| step).filter(|one| step.is_none_or(|name| one.name == name));
    let begun: Vec<&StepStatus> = asked.filter(|step| has_begun(step)).collect();
    if begun.is_empty() {
        return Err(match step {
            Some(name) => {
                format!("step {name} has broken nothing: it did not begin, or is no fault")
            }
            None => "no step with a fault has begun".to_owned(),
        });
    }
    if let Some(step) = begun.iter().find(|step| step.evidence.gap) {
        return Err(format!(
            "step {}: an agent was started again, and has counted anew",
            step.name
        ));
    }
    if begun.iter().all(|step| step.evidence.armed == 0) {
        return Err("no agent has reported what it has counted".to_owned());
    }
    Ok(begun.into_iter().map(|step| step.ledger).fold(LedgerSums::default(), sum))
}

fn has_begun(step: &StepStatus) -> bool {
    step.started.is_some() && step.phase != StepPhase::Skipped
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::{ExperimentSpec, Mode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{expression::Expressions, probes::Checks};

    fn of(step: Value, asked: Option<&str>) -> Result<u64, String> {
        let spec: ExperimentSpec = serde_json::from_value(json!({
            "targets": { "web": { "pods": {} } },
            "steps": [
                { "name": "rest", "wait": { "for": "1s" } },
                { "name": "slow", "fault": { "target": "web", "do": "drop egress tcp", "for": "1s" } },
            ],
        }))
        .unwrap();
        let mut checks = Checks::default();
        let read = Script::read(&spec, [], Mode::Armed, &mut Expressions::default(), &mut checks);
        let rest = json!({ "name": "rest", "phase": "Done", "started": "2026-11-28T10:00:00Z" });
        let status = json!({ "phase": "Recovering", "steps": [rest, step] });
        let status = serde_json::from_value(status).unwrap();
        counted(&read.unwrap(), &status, asked).map(|sums| sums.injected)
    }

    fn step(fields: Value) -> Value {
        let ledger = json!({ "matched": 9, "injected": 7, "shadowed": 0, "spared": 2, "lost": 0 });
        let mut step = json!({ "name": "slow", "phase": "Done", "started": "2026-11-28T10:00:01Z",
                               "ledger": ledger, "evidence": { "armed": 2 } });
        step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        step
    }

    #[test]
    fn only_what_was_counted_to_the_end_is_judged() {
        for asked in [None, Some("slow")] {
            assert_eq!(of(step(json!({})), asked), Ok(7));
            let none = LedgerSums::default();
            assert_eq!(of(step(json!({ "ledger": none })), asked), Ok(0));
            for (fields, why) in [
                (json!({ "started": null, "phase": "Pending" }), "begin"),
                (json!({ "started": null, "phase": "Skipped" }), "begin"),
                (json!({ "evidence": { "armed": 2, "gap": true } }), "counted anew"),
                (json!({ "evidence": {} }), "no agent has reported"),
            ] {
                let error = of(step(fields.clone()), asked).unwrap_err();
                assert!(error.contains(why) || error.contains("begun"), "{fields}: {error}");
            }
        }
        assert!(of(step(json!({})), Some("rest")).unwrap_err().contains("is no fault"));
    }
}
