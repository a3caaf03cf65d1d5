//! Finds the finished runs that are not to be kept: of each experiment, and of all runs of a namespace that have none, the
//! oldest.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::kinds::{Run, RunPhase};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::observed::Observed;

/// Finished runs that are kept where nothing else is said.
const KEPT: usize = 30;

/// Runs of one namespace, and of one experiment that is there, or of none.
type Group = (String, Option<String>);

/// Runs that are to be deleted, the oldest of each group first. One that has not finished is never among them.
pub fn surplus(observed: &Observed) -> Vec<Arc<Run>> {
    let mut groups: BTreeMap<Group, Vec<(Timestamp, Arc<Run>)>> = BTreeMap::new();
    for run in &observed.runs {
        let Some(finished) = finished(run) else { continue };
        let namespace = run.namespace().unwrap_or_default();
        let is_there = |name: &&String| observed.experiment(&namespace, name).is_some();
        let experiment = run.spec.experiment.as_ref().filter(is_there).cloned();
        groups.entry((namespace, experiment)).or_default().push((finished, run.clone()));
    }
    let mut surplus = Vec::new();
    for ((namespace, experiment), mut runs) in groups {
        let experiment = experiment.and_then(|name| observed.experiment(&namespace, &name));
        let keep = experiment.and_then(|one| one.spec.keep.as_ref());
        let kept = keep.map_or(KEPT, |keep| keep.finished as usize);
        // Runs are observed in the order of their creation, which is kept where they finished together.
        runs.sort_by_key(|(finished, _)| *finished);
        let beyond = runs.len().saturating_sub(kept);
        surplus.extend(runs.into_iter().take(beyond).map(|(_, run)| run));
    }
    surplus
}

/// When a run finished.
pub fn finished(run: &Run) -> Option<Timestamp> {
    let status = run.status.as_ref().filter(|status| status.phase == RunPhase::Finished)?;
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Finished");
    Some(condition.map_or(Timestamp::MIN, |condition| condition.last_transition_time.0))
}
