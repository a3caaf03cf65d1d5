//! Selects the pods of a target and picks some: at the beginning of a step as many as are asked for, later never more,
//! and never beyond the limits.

use std::collections::BTreeSet;

use chaos_api::kinds::Target;
use jiff::Timestamp;

use crate::{
    counted::{be, counted},
    exceptions::Exceptions,
    expression::Expressions,
    ledger::has_had,
    limits::{Extent, Limits},
    observed::Observed,
    ownership::{Between, belongs},
    pick::{Amount, Rank},
    planning::Planner,
    pods::{Annotation, PodFacts},
    promised::Promised,
    room::{Load, Room},
    script::Choice,
    text,
};

/// Of which run and step pods are selected.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// That of the run.
    pub namespace: &'a str,
    pub run: &'a str,
    pub run_uid: &'a str,
    pub step: &'a str,
    pub choice: &'a Choice,
    pub limits: &'a Limits,
    /// Pods that other runs want, by their UID.
    pub promised: &'a Promised,
    /// Whether it picks no more pods than PodDisruptionBudgets allow.
    pub respects_budgets: bool,
    /// Whether the step removes pods.
    pub removes: bool,
}

/// The pods that a target selects.
pub struct Selection<'a> {
    /// In the order in which they are picked. All that serve, and those that the run has broken already.
    pods: Vec<(Rank, &'a PodFacts)>,
    /// Pods of the run that are not selected any more: they count until their text is gone.
    left_over: Vec<&'a PodFacts>,
    room: Room<'a>,
    pub exceptions: Exceptions,
}

/// What a step was begun with.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    pub started: Timestamp,
    pub picked: usize,
    /// No pod beyond it is armed later, nor one that was made later, where nothing is followed.
    pub last: Option<Rank>,
}

/// The pods with which a step begins.
pub struct Picked<'a> {
    pub pods: Vec<(Rank, &'a PodFacts)>,
    /// Why this is not what was asked for.
    pub refusals: Vec<String>,
}

impl Asked<'_> {
    fn is_mine(&self, pod: &PodFacts) -> bool {
        pod.is_held_by(self.run_uid)
    }

    /// What the step is called on a pod.
    fn name(&self, pod: &PodFacts) -> String {
        text::name(self.namespace, &pod.name.namespace, self.run, self.step)
    }

    /// Why a pod cannot be picked, where it is another's. What is said is missing where this is over in a moment.
    fn taken(&self, pod: &PodFacts) -> Option<Option<String>> {
        match &pod.annotation {
            Annotation::Theirs { manager } => Some(Some(format!("taken by {manager}"))),
            Annotation::Ours { .. } if self.is_mine(pod) => None,
            Annotation::Ours { holder: Some(_), .. } => {
                Some(Some("taken by another run".to_owned()))
            }
            Annotation::Ours { holder: None, .. } => Some(None),
            // Another run wants it.
            Annotation::None if self.promised.contains(&pod.uid) => Some(None),
            // Somebody took the faults off: nothing puts them back.
            Annotation::None if has_had(pod, &self.name(pod)) => {
                Some(Some("its annotation was removed".to_owned()))
            }
            Annotation::None => None,
        }
    }
}

impl<'a> Selection<'a> {
    /// Selects the pods of a target.
    pub fn of(asked: &Asked<'_>, observed: &'a Observed, expressions: &mut Expressions) -> Self {
        let target = &asked.choice.target;
        let mut exceptions = Exceptions::default();
        let mut pods = Vec::new();
        let mut left_over = Vec::new();
        let namespaces = asked.choice.namespaces(asked.namespace);
        for pod in observed.within_reach(asked.namespace) {
            let is_there = namespaces.contains(&pod.name.namespace.as_str());
            let is_on_a_node = || {
                let labels = pod.node.as_ref().and_then(|node| observed.nodes.get(node));
                target
                    .nodes
                    .as_ref()
                    .is_none_or(|nodes| labels.is_some_and(|labels| nodes.matches(labels)))
            };
            let mut is_meant = || {
                let Some(text) = &target.r#where else { return true };
                expressions.holds(text, &pod.object, observed.now).unwrap_or_else(|error| {
                    exceptions.add(format!("where: {error}"), &pod.name);
                    false
                })
            };
            let serves = pod.is_ready || asked.is_mine(pod);
            if !pod.is_going
                && serves
                && is_there
                && is_of_workload(target, pod, &observed.between)
                && is_on_a_node()
                && is_meant()
            {
                pods.push((Rank::of(asked.run_uid, &pod.uid), pod));
            } else if asked.is_mine(pod) {
                left_over.push(pod);
            }
        }
        pods.sort_by_key(|(rank, _)| *rank);
        let selected: Vec<&PodFacts> = pods.iter().map(|(_, pod)| *pod).collect();
        let load = Load {
            run_uid: asked.run_uid,
            namespaces: &namespaces,
            selected: &selected,
            left_over: &left_over,
            promised: asked.promised,
            respects_budgets: asked.respects_budgets,
            removes: asked.removes,
        };
        let room = Room::of(load, observed);
        Self { pods, left_over, room, exceptions }
    }

    /// How many pods are selected.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Picks the pods with which a step begins.
    pub fn begin(&mut self, asked: &Asked<'_>, target: &str) -> Picked<'a> {
        let selected = self.len();
        let mut refusals = Vec::new();
        if selected == 0 {
            refusals.push(format!(
                "target {target}: no ready pod of namespace {} is selected",
                asked.choice.namespaces(asked.namespace).join(", ")
            ));
        }
        if let Amount::Number(number) = asked.choice.amount
            && number > selected
            && selected > 0
        {
            refusals.push(format!("target {target}: {number} pods are to be picked of {selected}"));
        }
        let wanted = asked.choice.amount.of(selected);
        let mut pods = Vec::new();
        let mut full = BTreeSet::new();
        for (rank, pod) in self.free(asked) {
            if pods.len() == wanted {
                break;
            }
            let has_place = asked.is_mine(pod) && !asked.removes;
            let taken = if has_place { self.room.keep(pod) } else { self.room.take(pod) };
            match taken {
                Ok(()) => pods.push((rank, pod)),
                Err(why) => {
                    self.exceptions.add(why.clone(), &pod.name);
                    full.insert(why);
                }
            }
        }
        if pods.len() < wanted {
            refusals.extend(full.into_iter().map(|why| format!("target {target}: {why}")));
        }
        if let Amount::Number(_) | Amount::Share(_) | Amount::Range(..) = asked.choice.amount
            && pods.len() < wanted
        {
            let free = pods.len();
            refusals.push(format!(
                "target {target}: {} {} to be picked, and {free} {} free",
                counted(wanted as u64, "pod"),
                be(wanted as u64),
                be(free as u64)
            ));
        } else if pods.is_empty() && selected > 0 {
            refusals.push(format!("target {target}: none of {selected} pods is free"));
        }
        let nodes = nodes(pods.iter().map(|(_, pod)| *pod));
        refusals.extend(asked.limits.beyond(Extent { picked: pods.len(), selected, nodes }));
        Picked { pods, refusals }
    }

    /// Picks the pods that a step has now. Those that it has, it keeps; others take the places of those that are gone.
    pub fn go_on(
        &mut self,
        asked: &Asked<'_>,
        beginning: &Beginning,
        planner: &mut Planner<'_>,
    ) -> Vec<&'a PodFacts> {
        let selected = self.len();
        let most = [asked.choice.amount.of(selected), asked.limits.most(selected)];
        let most = most
            .into_iter()
            .fold(beginning.picked, usize::min)
            .saturating_sub(self.left_over.len());
        let free = self.free(asked);
        let (kept, others): (Vec<_>, Vec<_>) =
            free.into_iter().partition(|(_, pod)| asked.is_mine(pod));
        let has_surplus = kept.len() > most;
        let mut chosen: Vec<_> = kept.into_iter().take(most).collect();
        chosen.retain(|(_, pod)| {
            let kept = self.room.keep(pod);
            kept.map_err(|why| self.exceptions.add(why, &pod.name)).is_ok()
        });
        // Thousands may be added: the nodes are counted along with them.
        let mut nodes: BTreeSet<&str> =
            chosen.iter().filter_map(|(_, pod)| pod.node.as_deref()).collect();
        for (rank, pod) in others {
            if chosen.len() >= most || has_surplus {
                break;
            }
            let is_first = pod.created <= beginning.started && Some(rank) <= beginning.last;
            if !(asked.choice.is_followed() || is_first) {
                continue;
            }
            let node = pod.node.as_deref();
            let on = nodes.len() + usize::from(node.is_some_and(|node| !nodes.contains(node)));
            let beyond = asked.limits.nodes.is_some_and(|most| on > most);
            let refusal = if beyond {
                Some("limits.nodes".to_owned())
            } else {
                planner.refusal(pod).or_else(|| self.room.take(pod).err())
            };
            match refusal {
                Some(why) => self.exceptions.add(why, &pod.name),
                None => {
                    nodes.extend(node);
                    chosen.push((rank, pod));
                }
            }
        }
        chosen.into_iter().map(|(_, pod)| pod).collect()
    }

    /// Those that nobody else has.
    fn free(&mut self, asked: &Asked<'_>) -> Vec<(Rank, &'a PodFacts)> {
        let mut free = Vec::new();
        for (rank, pod) in &self.pods {
            match asked.taken(pod) {
                None => free.push((*rank, *pod)),
                Some(Some(why)) => self.exceptions.add(why, &pod.name),
                Some(None) => {}
            }
        }
        free
    }
}

/// How many pods are ready that a target's labels and owner select, wherever they are and however old.
pub fn ready(asked: &Asked<'_>, observed: &Observed) -> usize {
    let target = &asked.choice.target;
    let is_of = |pod: &&PodFacts| {
        pod.is_ready && !pod.is_going && is_of_workload(target, pod, &observed.between)
    };
    let namespaces = asked.choice.namespaces(asked.namespace);
    let pods = namespaces.iter().flat_map(|namespace| observed.pods_of(namespace));
    pods.filter(is_of).count()
}

/// Whether a pod has the labels and the owner that a target names.
fn is_of_workload(target: &Target, pod: &PodFacts, between: &Between) -> bool {
    let controlled_by = pod.controlled_by.as_ref();
    target.pods.as_ref().is_none_or(|labels| labels.matches(&pod.labels))
        && target.owner.as_ref().is_none_or(|owner| belongs(controlled_by, owner, between))
}

/// On how many nodes pods are.
pub fn nodes<'a>(pods: impl IntoIterator<Item = &'a PodFacts>) -> usize {
    pods.into_iter().filter_map(|pod| pod.node.as_ref()).collect::<BTreeSet<_>>().len()
}
