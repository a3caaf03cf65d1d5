//! Waits for what agents have counted last where a run is ended before its time: its verdict and its report go by that.

use chaos_api::kinds::{RunStatus, StepStatus};
use chaos_kube::PodPhase;
use jiff::{SignedDuration, Timestamp};

use super::Turn;
use crate::{
    counted::counted,
    ledger,
    script::{Act, Deed, Script},
    text::name,
};

/// The condition of a run that tells whether its agents have said that nothing is armed any more, and what they have
/// counted.
const HEALED: &str = "Healed";

impl Turn<'_> {
    /// Whether an agent has still to say that a pod is healed, and what it has counted there. It is waited for so long from
    /// when that was first asked; the status says since when.
    pub(super) fn awaits_counts(
        &mut self,
        script: &Script,
        status: &mut RunStatus,
        patience: SignedDuration,
    ) -> bool {
        let steps = script.steps.iter().zip(&status.steps);
        let begun: Vec<&str> = steps.filter(has_begun).map(|(act, _)| act.name.as_str()).collect();
        if begun.is_empty() {
            return false;
        }
        let still_armed = self.note_last_counts(&begun);
        if still_armed == 0 {
            let message = "every agent has said that nothing is armed, and what it has counted";
            self.set(status, HEALED, true, "Counted", message);
            return false;
        }
        let (now, pods) = (self.observed.now, counted(still_armed, "pod"));
        let waits = now.duration_since(asked_since(status).unwrap_or(now)) < patience;
        let (reason, message) = match waits {
            true => ("Waiting", format!("waiting for the last counts of {pods}")),
            false => ("Silent", format!("the last counts of {pods} are not known")),
        };
        self.set(status, HEALED, false, reason, &message);
        waits
    }

    /// Notes the last counts of these steps for the report. Returns how many pods are still armed, as their agents say.
    fn note_last_counts(&mut self, steps: &[&str]) -> u64 {
        let (home, reports) = (&self.identity.namespace, &mut self.memory.reports);
        let mut still_armed = 0;
        for pod in self.observed.within_reach(home) {
            let Some(said) = &pod.status else { continue };
            let mut is_armed = false;
            for step in steps {
                let name = name(home, &pod.name.namespace, &self.identity.name, step);
                let Some(counts) = ledger::counts(pod, &name) else { continue };
                let has_ended = said.phase == PodPhase::Ended;
                is_armed |= said.phase == PodPhase::Armed;
                reports.note_counts((&self.identity.uid, step, &pod.uid), counts, has_ended);
            }
            still_armed += u64::from(is_armed);
        }
        still_armed
    }
}

/// Whether a step with a fault has begun.
fn has_begun((act, step): &(&Act, &StepStatus)) -> bool {
    matches!(act.deed, Deed::Fault { .. }) && step.started.is_some()
}

/// Since when agents have been waited for.
fn asked_since(status: &RunStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter();
    let healed = conditions.find(|condition| condition.type_ == HEALED)?;
    (healed.status == "False").then_some(healed.last_transition_time.0)
}
