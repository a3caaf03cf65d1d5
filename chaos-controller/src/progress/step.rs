//! Plans, begins and follows the steps of a run.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use chaos_api::kinds::{
    Mode, OnError, PodAction, RunStatus, StepPhase, StepStatus, Summary, TargetCounts,
};
use chaos_fault::{Fault, print_duration};
use chaos_kube::{PodPhase, digest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{FAREWELL, Progress, Text, Turn, ends, not_enabled, plan_in_words};
use crate::{
    condition,
    exceptions::Exceptions,
    ledger::{self, Sums, sum},
    namespaces::not_allowed,
    pick::Rank,
    planning::Planner,
    pods::PodFacts,
    promised::Promised,
    report::{Line, State},
    script::{Act, Deed, Script},
    selection::{Asked, Beginning, Selection, nodes, ready},
    text::{Holder, Wording, holder, name},
};

/// Faults that end no longer before their step than this are on time: a text says how long in whole seconds, so they may end
/// one too soon, and the clock of a node is not quite that of the controller.
const ON_TIME: SignedDuration = SignedDuration::from_secs(2);

/// What the agent of a pod says of a text.
enum Answer {
    Armed,
    Waiting,
    Refused(String),
    Ended,
}

impl Turn<'_> {
    /// Plans every step as if it began now. Why they cannot be done, if so.
    pub(super) fn refusals(&mut self, script: &Script, status: &mut RunStatus) -> Vec<String> {
        if let Some(why) = self.halted() {
            return vec![why];
        }
        let home = self.identity.namespace.clone();
        let all = script.namespaces(&home);
        let others: Vec<String> = all
            .into_iter()
            .filter(|name| !self.observed.enabled.contains_key(*name))
            .map(not_enabled)
            .collect();
        if !others.is_empty() {
            return others;
        }
        let mut refusals: Vec<String> =
            script.limits.too_long(script.lasting()).into_iter().collect();
        refusals.extend(self.beyond_ceilings(script));
        let mut exceptions = Exceptions::default();
        for (act, step) in script.steps.iter().zip(&mut status.steps) {
            let Some(target) = act.deed.target() else { continue };
            let asked = asked(&self.identity, script, act, target, &self.memory.promised);
            let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
            let picked = selection.begin(&asked, target);
            let of_step = |why: String| format!("step {}: {why}", act.name);
            let namespaces = asked.choice.namespaces(&home);
            let mut refused = 0;
            let forbidden = match &act.deed {
                Deed::Fault { faults, .. } => {
                    // What cannot be looked up is refused once, and not by the plan of each node.
                    let addressed = self.with_addresses(script, faults);
                    let known = addressed.as_deref().unwrap_or_default();
                    let mut planner = Planner::new(&self.observed.agents, known);
                    for (_, pod) in &picked.pods {
                        if let Some(why) = planner.refusal(pod) {
                            refused += 1;
                            exceptions.add(why, &pod.name);
                        }
                    }
                    let unknown = addressed.as_ref().err().map(ToString::to_string);
                    self.forbidden(faults, &namespaces).into_iter().chain(unknown).collect()
                }
                Deed::Pods { action, .. } => {
                    self.unremovable(*action, &namespaces, picked.pods.len())
                }
                Deed::Check { .. } | Deed::Wait(_) => Vec::new(),
            };
            refusals.extend(forbidden.into_iter().map(of_step));
            refusals.extend(picked.refusals.into_iter().map(of_step));
            let is_too_few = match act.on_error {
                OnError::Halt => refused > 0,
                OnError::Continue => refused > 0 && refused == picked.pods.len(),
            };
            if is_too_few {
                let picked = picked.pods.len();
                refusals.push(of_step(format!(
                    "{refused} of {picked} picked pods cannot be armed (see exceptions)"
                )));
            }
            step.picked = number(picked.pods.len());
            if status.targets == TargetCounts::default() {
                status.targets = TargetCounts {
                    selected: number(selection.len()),
                    nodes: number(nodes(picked.pods.iter().map(|(_, pod)| *pod))),
                    refused: number(refused),
                    ..TargetCounts::default()
                };
                status.summary.targets = format!("0/{}", picked.pods.len());
            }
            exceptions.take(selection.exceptions);
        }
        status.exceptions = exceptions.into_status();
        refusals
    }

    /// Why namespaces forbid faults, where they do.
    fn forbidden(&self, faults: &[Fault], namespaces: &[&str]) -> Vec<String> {
        let refusal = |namespace: &&str| {
            let allowed = &self.observed.enabled.get(*namespace)?.verbs;
            let words = faults.iter().find(|fault| !allowed.admits(&fault.verb))?.verb.words();
            Some(not_allowed(namespace, words))
        };
        namespaces.iter().filter_map(refusal).collect()
    }

    /// Begins a step, or the end of the run where there is none.
    pub(super) fn start(
        &mut self,
        mut status: RunStatus,
        script: &Script,
        index: usize,
    ) -> RunStatus {
        let Some(act) = script.steps.get(index) else {
            return self.recover(status, script);
        };
        if let Some(text) = &act.condition {
            match condition::holds(text, &status.probes) {
                Ok(true) => {}
                Ok(false) => {
                    status.steps[index].phase = StepPhase::Skipped;
                    return self.start(status, script, index + 1);
                }
                Err(error) => {
                    self.fail(&mut status, act, index, &format!("if: {error}"));
                    return match act.on_error {
                        OnError::Halt => status,
                        OnError::Continue => self.start(status, script, index + 1),
                    };
                }
            }
        }
        let now = whole_seconds(self.observed.now);
        let lasting = SignedDuration::try_from(act.deed.lasting().max(Duration::from_secs(1)));
        let ends = now.saturating_add(lasting.unwrap_or(SignedDuration::ZERO)).unwrap_or(now);
        let step = &mut status.steps[index];
        step.started = Some(Time(now));
        step.ends = Some(Time(whole_seconds(ends)));
        step.phase = StepPhase::Running;
        let Some(target) = act.deed.target() else { return status };
        let asked = asked(&self.identity, script, act, target, &self.memory.promised);
        let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
        let picked = selection.begin(&asked, target);
        let hash = |(rank, _): &(Rank, &PodFacts)| rank.to_string();
        let wanted: Vec<String> = picked.pods.iter().map(|(_, pod)| pod.uid.clone()).collect();
        step.picked = number(picked.pods.len());
        let mut refusals = picked.refusals;
        let mut is_done = false;
        match &act.deed {
            Deed::Pods { action, .. } => {
                let namespaces = asked.choice.namespaces(asked.namespace);
                refusals.extend(self.unremovable(*action, &namespaces, picked.pods.len()));
                match self.run.spec.mode {
                    Mode::Armed => {
                        step.pods = picked.pods.iter().map(hash).collect();
                        step.ready = match action {
                            PodAction::Restart => number(ready(&asked, self.observed)),
                            PodAction::Delete | PodAction::Evict => 0,
                        };
                    }
                    // There is nothing to be counted.
                    Mode::Shadow | Mode::Plan => is_done = true,
                }
            }
            Deed::Fault { .. } | Deed::Check { .. } | Deed::Wait(_) => {
                let last = picked.pods.last().filter(|_| !asked.choice.is_followed());
                step.last_hash = last.map(hash);
            }
        }
        if !refusals.is_empty() {
            let why = refusals.join("; ");
            self.fail(&mut status, act, index, &why);
            return match act.on_error {
                OnError::Halt => status,
                OnError::Continue => self.start(status, script, index + 1),
            };
        }
        if is_done {
            step.phase = StepPhase::Done;
            step.ends = step.started.clone();
            return self.start(status, script, index + 1);
        }
        // Runs that begin after this one find as much less room.
        self.memory.promised.add(&self.identity.uid, wanted);
        let picked = status.steps[index].picked;
        let condition = condition(&act.deed);
        let message = format!("0 of {picked} pods are {}", condition.to_ascii_lowercase());
        self.set(&mut status, condition, false, "Waiting", &message);
        status
    }

    /// What is said when every step was done.
    pub(super) fn all_done(&self, status: &RunStatus, script: &Script) -> String {
        let removed = script.steps.iter().any(|act| matches!(act.deed, Deed::Pods { .. }));
        if self.run.spec.mode == Mode::Shadow && removed {
            return format!("every step was done; {}", plan_in_words(status, script));
        }
        "every step was done".to_owned()
    }

    /// Follows a step that breaks pods.
    pub(super) fn fault(
        &mut self,
        mut status: RunStatus,
        script: &Script,
        index: usize,
    ) -> Progress {
        let act = &script.steps[index];
        let Deed::Fault { target, faults, .. } = &act.deed else {
            return Progress::of(status);
        };
        let now = self.observed.now;
        let step = status.steps[index].clone();
        let ends = ends(&step).unwrap_or(now);
        let beginning = beginning(&step, now);
        let key = (self.identity.uid.as_str(), act.name.as_str());
        let mut lost = None;
        let addressed = match self.with_addresses(script, faults) {
            // Without names there is nothing to be kept.
            Ok(Cow::Borrowed(faults)) => Ok(Cow::Borrowed(faults)),
            found => {
                let found = found.map(Cow::into_owned);
                lost = found.as_ref().err().map(|why| format!("{why}; the addresses before stay"));
                self.memory.addresses.adopt(key, found, now).map(Cow::Owned)
            }
        };
        // Without addresses no other pod is armed: the plan refuses names.
        let faults = addressed.as_deref().unwrap_or(faults);
        let asked = asked(&self.identity, script, act, target, &self.memory.promised);
        let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
        let selected = selection.len();
        let is_over = now >= ends;
        let chosen: Vec<&PodFacts> = if is_over {
            let pods = self.observed.within_reach(&self.identity.namespace);
            pods.filter(|pod| pod.is_held_by(&self.identity.uid)).collect()
        } else {
            let mut planner = Planner::new(&self.observed.agents, faults);
            selection.go_on(&asked, &beginning, &mut planner)
        };
        let own = Holder { run_uid: self.identity.uid.clone(), step: act.name.clone() };
        let wording_in = |pods_in| Wording {
            namespace: &self.identity.namespace,
            pods_in,
            run: &self.identity.name,
            holder: own.clone(),
            faults,
            ends,
        };
        let mut exceptions = selection.exceptions;
        if let Some(why) = &lost {
            chosen.iter().for_each(|pod| exceptions.add(why, &pod.name));
        }
        let mut counts = TargetCounts {
            selected: number(selected),
            nodes: number(nodes(chosen.iter().copied())),
            ..TargetCounts::default()
        };
        let mut texts = BTreeMap::new();
        let mut lines = Vec::new();
        // Many pods have the same text.
        let mut known: BTreeMap<(&str, &str), Option<String>> = BTreeMap::new();
        // And all of a namespace that have none yet get the same.
        let mut fresh: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for pod in &chosen {
            let text = pod.annotation.ours().unwrap_or_default();
            let wording = wording_in(&pod.name.namespace);
            let ours = known.entry((&pod.name.namespace, text)).or_insert_with(|| {
                // Where nobody knows the addresses, those stay that another leader wrote.
                let is_ours = match &addressed {
                    Ok(_) => wording.is_ours(text),
                    Err(_) => holder(text).as_ref() == Some(&own),
                };
                is_ours.then(|| digest(text))
            });
            match ours {
                Some(digest) => {
                    texts.insert(pod.uid.clone(), Text::Stays);
                    let (count, state, refusal) = match answer(pod, digest) {
                        Answer::Armed => (&mut counts.armed, State::Armed, None),
                        Answer::Waiting => (&mut counts.waiting, State::Waiting, None),
                        Answer::Ended => (&mut counts.ended, State::Ended, None),
                        Answer::Refused(why) => (&mut counts.refused, State::Refused, Some(why)),
                    };
                    *count += 1;
                    if let Some(why) = &refusal {
                        exceptions.add(why, &pod.name);
                    }
                    let counts = ledger::counts(pod, &wording.name()).unwrap_or_default();
                    let line = Line::of(pod, &act.name, state);
                    lines.push(Line { counts, refusal, ..line });
                }
                None => {
                    counts.waiting += 1;
                    let text = fresh.entry(&pod.name.namespace).or_insert_with(|| wording.at(now));
                    if addressed.is_ok()
                        && let Some(text) = text.clone()
                    {
                        texts.insert(pod.uid.clone(), Text::Write(text));
                    }
                }
            }
        }
        for line in lines {
            self.memory.reports.note(&self.identity.uid, line, step.picked, now);
        }
        let evidence = &mut status.steps[index].evidence;
        evidence.armed = evidence.armed.max(counts.armed + counts.ended);
        evidence.refused = evidence.refused.max(counts.refused);
        if ends.duration_since(now) > ON_TIME {
            evidence.early = evidence.early.max(counts.ended);
        }
        status.targets = counts;
        status.summary =
            Summary { targets: format!("{}/{}", counts.armed + counts.ended, step.picked) };
        status.exceptions = exceptions.into_status();
        let all_answered = counts.waiting == 0 && counts.armed == 0;
        if is_over && (all_answered || now.duration_since(ends) >= FAREWELL) {
            if act.stops_at_errors() && step.picked > 0 && status.steps[index].evidence.armed == 0 {
                let why =
                    format!("none of {} pods was armed before its time was over", step.picked);
                self.fail(&mut status, act, index, &why);
                return Progress::of(status);
            }
            status.steps[index].phase = StepPhase::Done;
            return Progress { texts, ..Progress::of(self.start(status, script, index + 1)) };
        }
        if let Some(why) = self.judge(&mut status, act, &step, counts) {
            self.fail(&mut status, act, index, &why);
            return Progress::of(status);
        }
        Progress { texts, ..Progress::of(status) }
    }

    /// Says whether all pods are armed. Why the step fails, if so.
    fn judge(
        &self,
        status: &mut RunStatus,
        act: &Act,
        step: &StepStatus,
        counts: TargetCounts,
    ) -> Option<String> {
        let TargetCounts { armed, ended, refused, .. } = counts;
        let was_armed = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Armed" && condition.status == "True");
        if !was_armed && armed + ended == step.picked {
            let message = format!("{} of {} pods were armed", step.picked, step.picked);
            self.set(status, "Armed", true, "Armed", &message);
        } else if !was_armed {
            let message = format!("{} of {} pods are armed", armed + ended, step.picked);
            self.set(status, "Armed", false, "Waiting", &message);
        }
        let stops = act.stops_at_errors();
        if stops && refused > 0 {
            return Some(format!(
                "{refused} of {} pods refused the faults (see exceptions)",
                step.picked
            ));
        }
        let started = step.started.as_ref().map_or(self.observed.now, |time| time.0);
        let waited = self.observed.now.duration_since(started).unsigned_abs();
        if stops && !was_armed && armed + ended < step.picked && waited > act.timeout {
            let timeout = print_duration(act.timeout);
            return Some(format!(
                "{} of {} pods were armed within {timeout}",
                armed + ended,
                step.picked
            ));
        }
        None
    }

    /// Says that a step has failed. It arms no more pods, and removes no more.
    pub(super) fn fail(&self, status: &mut RunStatus, act: &Act, index: usize, why: &str) {
        status.steps[index].phase = StepPhase::Failed;
        status.steps[index].pods.clear();
        let why = format!("step {}: {why}", act.name);
        self.set(status, condition(&act.deed), false, "Failed", &why);
    }

    /// Sums up what the pods have counted.
    pub(super) fn count(&mut self, script: &Script, status: &mut RunStatus) {
        let home = &self.identity.namespace;
        for (act, step) in script.steps.iter().zip(&mut status.steps) {
            if step.phase != StepPhase::Pending {
                let pods = self.observed.within_reach(home);
                let name = |pod: &PodFacts| {
                    name(home, &pod.name.namespace, &self.identity.name, &act.name)
                };
                let key = (self.identity.uid.as_str(), act.name.as_str());
                let (sums, has_gap) = self.memory.ledgers.fold(key, name, pods, Sums::of(step));
                sums.put(step);
                step.evidence.gap |= has_gap;
            }
        }
        status.ledger = status.steps.iter().map(|step| step.ledger).fold(Default::default(), sum);
    }
}

pub(super) fn asked<'a>(
    identity: &'a super::Identity,
    script: &'a Script,
    act: &'a Act,
    target: &str,
    promised: &'a Promised,
) -> Asked<'a> {
    let is_bound_by_budgets = match &act.deed {
        Deed::Fault { .. } => true,
        Deed::Pods { action, .. } => match action {
            PodAction::Delete => true,
            // The API server holds evictions up. Restarts look before each pod.
            PodAction::Evict | PodAction::Restart => false,
        },
        Deed::Check { .. } | Deed::Wait(_) => false,
    };
    Asked {
        namespace: &identity.namespace,
        run: &identity.name,
        run_uid: &identity.uid,
        step: &act.name,
        // A script has no step of a target that it has not.
        choice: &script.targets[target],
        limits: &script.limits,
        promised,
        respects_budgets: is_bound_by_budgets && !script.limits.ignores_budgets,
        removes: matches!(act.deed, Deed::Pods { .. }),
    }
}

/// The condition of a run that tells how far a step is with its pods.
fn condition(deed: &Deed) -> &'static str {
    match deed {
        Deed::Pods { .. } => "Removed",
        Deed::Check { .. } => "Checked",
        Deed::Fault { .. } | Deed::Wait(_) => "Armed",
    }
}

fn beginning(step: &StepStatus, now: Timestamp) -> Beginning {
    Beginning {
        started: step.started.as_ref().map_or(now, |time| time.0),
        picked: step.picked as usize,
        last: step.last_hash.as_deref().and_then(Rank::parse),
    }
}

/// What is said of the text with this digest.
fn answer(pod: &PodFacts, digest: &str) -> Answer {
    let Some(status) = &pod.status else { return Answer::Waiting };
    if status.observed.as_deref() != Some(digest) {
        return Answer::Waiting;
    }
    match status.phase {
        PodPhase::Armed => Answer::Armed,
        PodPhase::Waiting => Answer::Waiting,
        PodPhase::Ended => Answer::Ended,
        PodPhase::Refused => Answer::Refused(status.messages.join("; ")),
    }
}

fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
