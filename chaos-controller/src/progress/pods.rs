//! Follows a step that removes pods. Which ones, is in the status before the first of them goes: by the hashes of their
//! UIDs, so that whoever leads next removes these and no other, and none of them twice.

use std::collections::BTreeSet;

use chaos_api::kinds::{PodAction, RunStatus, StepPhase, Summary, TargetCounts};
use chaos_fault::print_duration;

use super::{
    Progress, Turn,
    step::{asked, number},
};
use crate::{
    exceptions::Exceptions,
    namespaces::not_allowed,
    pick::Rank,
    pods::PodFacts,
    removal::{PodRemoval, Way},
    report::{Line, State},
    room::Room,
    script::{Deed, Script},
    selection::{nodes, ready},
};

/// The hashes of the pods of a step have room for so many in a status.
const MOST: usize = 256;

impl Turn<'_> {
    /// Why a step may not remove so many pods from some namespaces.
    pub(super) fn unremovable(
        &self,
        action: PodAction,
        namespaces: &[&str],
        picked: usize,
    ) -> Vec<String> {
        let mut refusals = Vec::new();
        let words = Way::of(action).words();
        for namespace in namespaces {
            if self.observed.is_protected(namespace) {
                refusals.push(format!("pods of namespace {namespace} are never removed"));
                continue;
            }
            let allowed = self.observed.enabled.get(*namespace);
            if !allowed.is_some_and(|allowed| allowed.removals.contains(&Way::of(action))) {
                refusals.push(not_allowed(namespace, words));
            }
        }
        if picked > MOST {
            refusals.push(format!(
                "{picked} pods are picked, and a step removes {MOST} at most; pick fewer, or use several steps"
            ));
        }
        refusals
    }

    /// Removes what is left of the pods that were picked, until all are gone or the time is up.
    pub(super) fn remove(
        &mut self,
        mut status: RunStatus,
        script: &Script,
        index: usize,
    ) -> Progress {
        let act = &script.steps[index];
        let Deed::Pods { target, action, grace, timeout } = &act.deed else {
            return Progress::of(status);
        };
        let observed = self.observed;
        let asked = asked(&self.identity, script, act, target, &self.memory.promised);
        let namespaces = asked.choice.namespaces(asked.namespace);
        if let Some(why) = self.unremovable(*action, &namespaces, 0).into_iter().next() {
            self.fail(&mut status, act, index, &why);
            return Progress::of(status);
        }
        let step = status.steps[index].clone();
        let picked: BTreeSet<Rank> =
            step.pods.iter().filter_map(|hash| Rank::parse(hash)).collect();
        let mut left: Vec<(Rank, &PodFacts)> = namespaces
            .iter()
            .flat_map(|namespace| observed.pods_of(namespace))
            .filter(|pod| !pod.is_going)
            .map(|pod| (Rank::of(asked.run_uid, &pod.uid), pod))
            .filter(|(rank, _)| picked.contains(rank))
            .collect();
        left.sort_by_key(|(rank, _)| *rank);
        let ready = number(ready(&asked, observed));
        let is_whole = match action {
            PodAction::Delete | PodAction::Evict => true,
            PodAction::Restart => ready >= step.ready,
        };
        let mut exceptions = Exceptions::default();
        let is_bound = *action == PodAction::Restart && !script.limits.ignores_budgets;
        let next = left.first().map(|(_, pod)| *pod).filter(|_| is_bound);
        let is_full = next.is_some_and(|pod| {
            let own = Some(asked.run_uid);
            let taken = Room::by_budgets(&namespaces, observed, asked.promised, own).take(pod);
            taken.map_err(|why| exceptions.add(why, &pod.name)).is_err()
        });
        let mut refused = 0;
        for (_, pod) in &left {
            let refusal = observed.unremoved.get(&pod.uid).cloned();
            let state = if refusal.is_some() { State::Refused } else { State::Waiting };
            if let Some(why) = &refusal {
                refused += 1;
                exceptions.add(why, &pod.name);
            }
            let line = Line { refusal, ..Line::of(pod, &act.name, state) };
            self.memory.reports.note(&self.identity.uid, line, step.picked, observed.now);
        }
        let is_left = |uid: &str| left.iter().any(|(_, pod)| pod.uid == uid);
        self.memory.reports.note_removed(&self.identity.uid, &act.name, is_left);
        let gone = step.picked.saturating_sub(number(left.len()));
        status.targets = TargetCounts {
            selected: ready,
            nodes: number(nodes(left.iter().map(|(_, pod)| *pod))),
            waiting: number(left.len()).saturating_sub(refused),
            refused,
            ended: gone,
            ..TargetCounts::default()
        };
        status.summary = Summary { targets: format!("{gone}/{}", step.picked) };
        status.steps[index].evidence.armed = gone;
        status.exceptions = exceptions.into_status();
        let so_far = format!("{gone} of {} pods are removed", step.picked);
        if left.is_empty() && is_whole {
            status.steps[index].phase = StepPhase::Done;
            status.steps[index].pods.clear();
            self.set(&mut status, "Removed", true, "Removed", &so_far);
            return Progress::of(self.start(status, script, index + 1));
        }
        let started = step.started.as_ref().map_or(observed.now, |time| time.0);
        if observed.now.duration_since(started).unsigned_abs() > *timeout {
            let timeout = print_duration(*timeout);
            let why = if left.is_empty() {
                format!("{ready} of {} pods were ready again within {timeout}", step.ready)
            } else {
                format!("{gone} of {} pods were removed within {timeout}", step.picked)
            };
            self.fail(&mut status, act, index, &why);
            return Progress::of(status);
        }
        self.set(&mut status, "Removed", false, "Waiting", &so_far);
        let at_once = match action {
            PodAction::Delete | PodAction::Evict => left.len(),
            PodAction::Restart => usize::from(is_whole && !is_full),
        };
        let removal = |(_, pod): (Rank, &PodFacts)| PodRemoval {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            way: Way::of(*action),
            grace: *grace,
        };
        let removals = left.into_iter().take(at_once).map(removal).collect();
        Progress { removals, ..Progress::of(status) }
    }
}
