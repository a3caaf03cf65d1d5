//! Plans, begins and follows the steps of a run.

use std::{collections::BTreeMap, time::Duration};

use chaos_api::kinds::{OnError, RunStatus, StepPhase, StepStatus, Summary, TargetCounts};
use chaos_fault::print_duration;
use chaos_kube::{ALLOW_VERBS, PodPhase, digest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Progress, Text, Turn, ends};
use crate::{
    exceptions::Exceptions,
    ledger::sum,
    pick::Rank,
    planning::Planner,
    pods::PodFacts,
    script::{Act, Deed, Script},
    selection::{Asked, Beginning, Selection, nodes},
    text::{Holder, Wording, holder, name},
};

/// How long a step waits for the last ledgers after its faults have ended.
const FAREWELL: SignedDuration = SignedDuration::from_secs(10);

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
        let Some(allowed) = self.observed.enabled.get(&self.identity.namespace) else {
            return vec![self.not_enabled()];
        };
        let mut refusals: Vec<String> =
            script.limits.too_long(script.lasting()).into_iter().collect();
        let mut exceptions = Exceptions::default();
        for (act, step) in script.steps.iter().zip(&mut status.steps) {
            let Deed::Fault { target, faults, .. } = &act.deed else { continue };
            let asked = asked(&self.identity, script, act, target);
            let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
            let picked = selection.begin(&asked, target);
            let of_step = |why: String| format!("step {}: {why}", act.name);
            // What cannot be looked up is refused once, and not by the plan of each node.
            let addressed = self.with_addresses(script, faults);
            let faults = match &addressed {
                Ok(faults) => faults.as_slice(),
                Err(error) => {
                    refusals.push(of_step(error.to_string()));
                    &[]
                }
            };
            let mut planner = Planner::new(&self.observed.agents, faults);
            let mut refused = 0;
            for (_, pod) in &picked.pods {
                if let Some(why) = planner.refusal(pod) {
                    refused += 1;
                    exceptions.add(why, &pod.name);
                }
            }
            if let Some(fault) = faults.iter().find(|fault| !allowed.admits(&fault.verb)) {
                let (words, namespace) = (fault.verb.words(), &self.identity.namespace);
                refusals.push(format!(
                    "step {}: namespace {namespace} does not allow `{words}`; annotate it, such as {ALLOW_VERBS}='default, {words}'",
                    act.name
                ));
            }
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

    /// Begins a step, or ends the run where there is none.
    pub(super) fn start(
        &mut self,
        mut status: RunStatus,
        script: &Script,
        index: usize,
    ) -> RunStatus {
        let Some(act) = script.steps.get(index) else {
            return self.finish(status, super::Reason::Completed, "every step was done".to_owned());
        };
        let now = whole_seconds(self.observed.now);
        let lasting = SignedDuration::try_from(act.deed.lasting().max(Duration::from_secs(1)));
        let ends = now.saturating_add(lasting.unwrap_or(SignedDuration::ZERO)).unwrap_or(now);
        let step = &mut status.steps[index];
        step.started = Some(Time(now));
        step.ends = Some(Time(whole_seconds(ends)));
        step.phase = StepPhase::Running;
        let Deed::Fault { target, .. } = &act.deed else {
            return status;
        };
        let asked = asked(&self.identity, script, act, target);
        let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
        let picked = selection.begin(&asked, target);
        step.picked = number(picked.pods.len());
        step.last_hash = picked
            .pods
            .last()
            .filter(|_| !asked.choice.is_followed())
            .map(|(rank, _)| rank.to_string());
        if picked.refusals.is_empty() {
            let message = format!("0 of {} pods are armed", picked.pods.len());
            self.set(&mut status, "Armed", false, "Waiting", &message);
            return status;
        }
        self.fail(&mut status, act, index, &picked.refusals.join("; "));
        match act.on_error {
            OnError::Halt => status,
            OnError::Continue => self.start(status, script, index + 1),
        }
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
        let asked = asked(&self.identity, script, act, target);
        let key = (self.identity.uid.as_str(), act.name.as_str());
        let found = self.with_addresses(script, faults);
        let addressed = self.memory.addresses.adopt(key, found, now);
        // Without addresses no other pod is armed: the plan refuses names.
        let faults = addressed.as_deref().unwrap_or(faults);
        let mut selection = Selection::of(&asked, self.observed, &mut self.memory.expressions);
        let selected = selection.len();
        let is_over = now >= ends;
        let chosen: Vec<&PodFacts> = if is_over {
            let pods = self.observed.pods_of(&self.identity.namespace);
            pods.iter().filter(|pod| pod.is_held_by(&self.identity.uid)).collect()
        } else {
            let mut planner = Planner::new(&self.observed.agents, faults);
            selection.go_on(&asked, &beginning, &mut planner)
        };
        let wording = Wording {
            namespace: &self.identity.namespace,
            run: &self.identity.name,
            holder: Holder { run_uid: self.identity.uid.clone(), step: act.name.clone() },
            faults,
            ends,
        };
        let mut exceptions = selection.exceptions;
        let mut counts = TargetCounts {
            selected: number(selected),
            nodes: number(nodes(chosen.iter().copied())),
            ..TargetCounts::default()
        };
        let mut texts = BTreeMap::new();
        // Many pods have the same text.
        let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for pod in &chosen {
            let text = pod.annotation.ours().unwrap_or_default();
            let ours = known.entry(text).or_insert_with(|| {
                // Where nobody knows the addresses, those stay that another leader wrote.
                let is_ours = match &addressed {
                    Ok(_) => wording.is_ours(text),
                    Err(_) => holder(text).as_ref() == Some(&wording.holder),
                };
                is_ours.then(|| digest(text))
            });
            match ours {
                Some(digest) => {
                    texts.insert(pod.uid.clone(), Text::Stays);
                    match answer(pod, digest) {
                        Answer::Armed => counts.armed += 1,
                        Answer::Waiting => counts.waiting += 1,
                        Answer::Ended => counts.ended += 1,
                        Answer::Refused(why) => {
                            counts.refused += 1;
                            exceptions.add(why, &pod.name);
                        }
                    }
                }
                None => {
                    counts.waiting += 1;
                    if addressed.is_ok()
                        && let Some(text) = wording.at(now)
                    {
                        texts.insert(pod.uid.clone(), Text::Write(text));
                    }
                }
            }
        }
        status.targets = counts;
        status.summary =
            Summary { targets: format!("{}/{}", counts.armed + counts.ended, step.picked) };
        status.exceptions = exceptions.into_status();
        let all_answered = counts.waiting == 0 && counts.armed == 0;
        if is_over && (all_answered || now.duration_since(ends) >= FAREWELL) {
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

    fn fail(&self, status: &mut RunStatus, act: &Act, index: usize, why: &str) {
        status.steps[index].phase = StepPhase::Failed;
        self.set(status, "Armed", false, "Failed", &format!("step {}: {why}", act.name));
    }

    /// Sums up what the pods have counted.
    pub(super) fn count(&mut self, script: &Script, status: &mut RunStatus) {
        let pods = self.observed.pods_of(&self.identity.namespace);
        for (act, step) in script.steps.iter().zip(&mut status.steps) {
            if step.phase != StepPhase::Pending {
                let name = name(&self.identity.name, &act.name);
                let key = (self.identity.uid.as_str(), act.name.as_str());
                step.ledger = self.memory.ledgers.fold(key, &name, pods, step.ledger);
            }
        }
        status.ledger = status.steps.iter().map(|step| step.ledger).fold(Default::default(), sum);
    }
}

fn asked<'a>(
    identity: &'a super::Identity,
    script: &'a Script,
    act: &'a Act,
    target: &str,
) -> Asked<'a> {
    Asked {
        namespace: &identity.namespace,
        run: &identity.name,
        run_uid: &identity.uid,
        step: &act.name,
        // A script has no step of a target that it has not.
        choice: &script.targets[target],
        limits: &script.limits,
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

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
