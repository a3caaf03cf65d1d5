//! Counts how many more pods may be broken: as many as their PodDisruptionBudgets leave, and as large a share of the
//! target as their namespace allows.

use std::collections::BTreeMap;

use crate::{
    budgets::Budget,
    names::MAX_SHARE,
    observed::Observed,
    pick::share,
    pods::{Annotation, PodFacts},
    promised::Promised,
};

/// What is left.
pub struct Room<'a> {
    budgets: Vec<(&'a Budget, usize)>,
    /// By namespace.
    shares: BTreeMap<&'a str, Share>,
}

struct Share {
    percent: usize,
    selected: usize,
    left: usize,
}

/// What counts against what is left.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub run_uid: &'a str,
    pub namespaces: &'a [&'a str],
    /// The pods that a target selects, and those of the run that it selects no more.
    pub selected: &'a [&'a PodFacts],
    pub left_over: &'a [&'a PodFacts],
    /// Pods that other runs will break, by their UID.
    pub promised: &'a Promised,
    /// Whether PodDisruptionBudgets are respected.
    pub respects_budgets: bool,
    /// Whether pods are removed: those that the run has broken before need a place like all others.
    pub removes: bool,
}

impl<'a> Room<'a> {
    /// What PodDisruptionBudgets of namespaces leave. The pods of the run `apart` do not count.
    pub fn by_budgets(
        namespaces: &[&str],
        observed: &'a Observed,
        promised: &Promised,
        apart: Option<&str>,
    ) -> Self {
        let is_apart = |pod: &PodFacts| apart.is_some_and(|run_uid| pod.is_held_by(run_uid));
        let is_broken = |pod: &PodFacts| is_broken(pod, promised) && !is_apart(pod);
        let left = |budget: &'a Budget| {
            // Pods that are not ready are in the budget's status already.
            let pods = observed.pods_of(&budget.namespace);
            let pods = pods.filter(|pod| pod.is_ready && !pod.is_going);
            let broken = pods.filter(|pod| is_broken(pod) && budget.is_about(pod)).count();
            (budget, budget.allowed.saturating_sub(broken))
        };
        let all = namespaces.iter().filter_map(|namespace| observed.budgets.get(*namespace));
        Self { budgets: all.flatten().map(left).collect(), shares: BTreeMap::new() }
    }

    /// What is left for a run. The pods that it has already count against budgets, and as selected pods they have to be
    /// taken.
    pub fn of(load: Load<'_>, observed: &'a Observed) -> Self {
        let bound = if load.respects_budgets { load.namespaces } else { &[] };
        let apart = load.removes.then_some(load.run_uid);
        let mut room = Self::by_budgets(bound, observed, load.promised, apart);
        let is_broken = |pod: &PodFacts| is_broken(pod, load.promised);
        for namespace in load.namespaces {
            let Some((name, allowed)) = observed.enabled.get_key_value(*namespace) else {
                continue;
            };
            let Some(percent) = allowed.ceilings.as_ref().ok().and_then(|all| all.share) else {
                continue;
            };
            let is_there = |pod: &&&PodFacts| pod.name.namespace == **namespace;
            let selected = load.selected.iter().filter(is_there).count();
            let others = load.selected.iter().filter(is_there);
            let others = others.filter(|pod| is_broken(pod) && !pod.is_held_by(load.run_uid));
            let taken = others.count() + load.left_over.iter().filter(is_there).count();
            let left = share(percent, selected).saturating_sub(taken);
            room.shares.insert(name.as_str(), Share { percent, selected, left });
        }
        room
    }

    /// Takes the place of a pod. Why there is none, if so.
    pub fn take(&mut self, pod: &PodFacts) -> Result<(), String> {
        let full = self.budgets.iter().find(|(budget, left)| *left == 0 && budget.is_about(pod));
        if let Some((budget, _)) = full {
            return Err(format!(
                "PodDisruptionBudget {} allows no more disruptions; `limits.disruptionBudgets: Ignore` goes beyond",
                budget.name
            ));
        }
        self.keep(pod)?;
        for (_, left) in self.budgets.iter_mut().filter(|(budget, _)| budget.is_about(pod)) {
            *left -= 1;
        }
        Ok(())
    }

    /// The same of a pod that the run has already: budgets count it anyway.
    pub fn keep(&mut self, pod: &PodFacts) -> Result<(), String> {
        let namespace = pod.name.namespace.as_str();
        let Some(Share { percent, selected, left }) = self.shares.get_mut(namespace) else {
            return Ok(());
        };
        if *left == 0 {
            let most = share(*percent, *selected);
            return Err(format!(
                "namespace {namespace}: {MAX_SHARE}: {percent}% of {selected} pods are {most}"
            ));
        }
        *left -= 1;
        Ok(())
    }
}

/// Whether a run has a pod, or will have it.
fn is_broken(pod: &PodFacts, promised: &Promised) -> bool {
    match pod.annotation {
        Annotation::Ours { .. } => true,
        Annotation::None | Annotation::Theirs { .. } => promised.contains(&pod.uid),
    }
}
