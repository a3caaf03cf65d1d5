//! Decides what is to be done, from everything that there is. Pure: what was missed is made good by the next look.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_api::kinds::{Condition, Experiment, ExperimentStatus, Mode, Run, RunPhase, RunStatus};
use chaos_kube::{PodName, PodPhase};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::{
    bounded::fit,
    names::full_name,
    observed::Observed,
    pods::{Annotation, PodFacts},
    probes::Question,
    progress::{Memory, Text, advance},
    removal::PodRemoval,
    retention::surplus,
    script::Script,
};

/// What is to be done. Texts are taken away before others are written, so that there are never more.
#[derive(Debug, Default)]
pub struct Actions {
    /// Runs, `NAMESPACE/RUN`, whose faults are being taken away before their time.
    pub ending: BTreeSet<String>,
    /// Runs whose reports another leader has begun.
    pub resume: Vec<Arc<Run>>,
    /// Runs whose reports are to be written.
    pub reports: Vec<Arc<Run>>,
    /// Statuses of runs that a probe ends. They are written before anything is taken away, so that another leader does
    /// not put it back.
    pub decisions: Vec<(Arc<Run>, RunStatus)>,
    /// What probes are asked from now on.
    pub ask: Vec<Question>,
    /// Other statuses of runs that are not as they should be.
    pub runs: Vec<(Arc<Run>, RunStatus)>,
    pub experiments: Vec<(Arc<Experiment>, ExperimentStatus)>,
    pub clear: Vec<PodWrite>,
    pub write: Vec<PodWrite>,
    /// Pods that are to be removed. The status that is there says so.
    pub remove: Vec<PodRemoval>,
    /// Finished runs that are not kept.
    pub forget: Vec<Arc<Run>>,
    /// How many pods will have faults, those of annotations of others among them.
    pub armed_pods: usize,
}

/// A change of the annotation of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodWrite {
    pub pod: PodName,
    pub uid: String,
    pub version: String,
    /// `None` takes it away.
    pub text: Option<String>,
}

/// Decides what is to be done.
pub fn decide(observed: &Observed, memory: &mut Memory) -> Actions {
    let mut actions = Actions::default();
    memory.promised.clear();
    let mut texts: BTreeMap<String, Text> = BTreeMap::new();
    for run in &observed.runs {
        let Some(mut progress) = advance(run, observed, memory) else { continue };
        tell_of_report(run, &mut progress.status, observed.now, memory);
        memory.promised.extend(progress.texts.keys().cloned());
        memory.promised.extend(progress.removals.iter().map(|removal| removal.uid.clone()));
        texts.extend(progress.texts);
        actions.remove.extend(progress.removals);
        if progress.is_ending {
            actions.ending.insert(full_name(run));
        }
        actions.ask.extend(progress.questions);
        if run.status.as_ref() != Some(&progress.status) {
            fit(&mut progress.status);
        }
        report(run, &progress.status, observed.now, memory, &mut actions);
        if run.status.as_ref() != Some(&progress.status) {
            let had_reason = run.status.as_ref().is_some_and(|status| status.reason.is_some());
            let statuses = match progress.status.reason {
                Some(_) if progress.is_ending && !had_reason => &mut actions.decisions,
                Some(_) | None => &mut actions.runs,
            };
            statuses.push((run.clone(), progress.status));
        }
    }
    for pod in observed.pods.values().flatten() {
        let text = texts.remove(&pod.uid);
        actions.armed_pods += usize::from(text.is_some() || has_others_faults(pod));
        match (text, &pod.annotation) {
            (Some(Text::Write(text)), _) => actions.write.push(change(pod, Some(text))),
            (Some(Text::Stays), _) => {}
            (None, Annotation::Ours { .. }) => actions.clear.push(change(pod, None)),
            (None, Annotation::None | Annotation::Theirs { .. }) => {}
        }
    }
    for experiment in &observed.experiments {
        let status = judged(experiment, observed, memory);
        if experiment.status.as_ref() != Some(&status) {
            actions.experiments.push((experiment.clone(), status));
        }
    }
    actions.forget = surplus(observed);
    let runs: BTreeSet<String> = observed.runs.iter().filter_map(|run| run.uid()).collect();
    memory.ledgers.retain(|uid| runs.contains(uid));
    memory.addresses.retain(|uid| runs.contains(uid));
    let is_live = |run: &&Arc<Run>| {
        run.status.as_ref().is_none_or(|status| status.phase != RunPhase::Finished)
    };
    let live: BTreeSet<String> =
        observed.runs.iter().filter(is_live).filter_map(|run| run.uid()).collect();
    memory.reports.retain(|uid| live.contains(uid));
    memory.watches.retain(|uid| live.contains(uid));
    actions
}

/// Says whether the report can be written, once it could not.
fn tell_of_report(run: &Run, status: &mut RunStatus, now: Timestamp, memory: &Memory) {
    let uid = run.metadata.uid.as_deref().unwrap_or_default();
    let conditions = &mut status.conditions;
    if let Some(why) = memory.reports.refusal(uid) {
        let why = format!("the report cannot be written, so the status alone tells of pods: {why}");
        Condition::set(conditions, "Reported", false, "Refused", &why, Time(now));
    } else if memory.reports.is_written(uid)
        && conditions.iter().any(|condition| condition.type_ == "Reported")
    {
        Condition::set(conditions, "Reported", true, "Written", "", Time(now));
    }
}

/// Says what is to be done about the report of a run that has this status now.
fn report(
    run: &Arc<Run>,
    status: &RunStatus,
    now: Timestamp,
    memory: &mut Memory,
    actions: &mut Actions,
) {
    let before = run.status.as_ref();
    let phase = before.map(|status| status.phase);
    let uid = run.metadata.uid.as_deref().unwrap_or_default();
    let has_ended = status.phase == RunPhase::Finished;
    if status.report.is_none() || phase == Some(RunPhase::Finished) {
        return;
    }
    memory.reports.note_status(uid, before, status, now);
    // The first status names the report.
    if before.is_none() {
        return;
    }
    if !memory.reports.is_whole(uid) {
        actions.resume.push(run.clone());
    }
    if memory.reports.is_due(uid, now, has_ended) {
        actions.reports.push(run.clone());
    }
}

fn change(pod: &PodFacts, text: Option<String>) -> PodWrite {
    let version = pod.object.resource_version().unwrap_or_default();
    PodWrite { pod: pod.name.clone(), uid: pod.uid.clone(), version, text }
}

/// Whether somebody else has broken a pod, as its agent says.
fn has_others_faults(pod: &PodFacts) -> bool {
    let is_armed = || pod.status.as_ref().is_some_and(|status| status.phase == PodPhase::Armed);
    matches!(pod.annotation, Annotation::Theirs { .. }) && is_armed()
}

/// Whether an experiment can be read.
fn judged(experiment: &Experiment, observed: &Observed, memory: &mut Memory) -> ExperimentStatus {
    let mut status = experiment.status.clone().unwrap_or_default();
    let Memory { expressions, checks, .. } = memory;
    let read = Script::read(&experiment.spec, [], Mode::Armed, expressions, checks);
    let home = experiment.namespace().unwrap_or_default();
    let mistake = match read {
        Ok(script) => script.misplaced(&home, &observed.own),
        Err(error) => Some(error.to_string()),
    };
    let (is, reason, message) = match mistake {
        None => (true, "Valid", String::new()),
        Some(mistake) => (false, "Invalid", mistake),
    };
    let conditions = &mut status.conditions;
    Condition::set(conditions, "Accepted", is, reason, &message, Time(observed.now));
    status
}

#[cfg(test)]
mod tests;
