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
    names::{full_name, uid},
    observed::Observed,
    pods::{Annotation, PodFacts},
    probes::Question,
    progress::{Judged, Memory, Text, advance},
    removal::PodRemoval,
    retention::surplus,
    script::Script,
    text::Holder,
    turns::Candidate,
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
    /// There was no time for all runs.
    pub is_cut: bool,
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

/// Decides what is to be done, as long as `has_time` says so: of the runs of each rank one at least. What stays is not
/// touched until it has its turn in one of the next looks.
pub fn decide(
    observed: &Observed,
    memory: &mut Memory,
    mut has_time: impl FnMut() -> bool,
) -> Actions {
    let mut actions = Actions::default();
    for (run, samples) in &observed.samples {
        memory.samples.entry(run.clone()).or_default().extend(samples.iter().cloned());
    }
    let is_open = |run: &Run| !is_finished(run) || memory.reports.knows(uid(run));
    let candidates = memory.turns.begin(observed, &memory.samples, is_open);
    let mut texts: BTreeMap<String, Text> = BTreeMap::new();
    let mut had = BTreeSet::new();
    for Candidate { run, rank } in candidates {
        let is_first = had.insert(rank);
        if is_first || has_time() {
            visit(run, observed, memory, &mut texts, &mut actions);
        }
    }
    let waiting: BTreeSet<&str> = observed
        .runs
        .iter()
        .filter(|run| !is_finished(run) && !memory.turns.had(run))
        .map(|run| uid(run))
        .collect();
    for pod in observed.pods.values().flatten() {
        let text = texts.remove(&pod.uid);
        let waits = holder_of(pod).is_some_and(|holder| waiting.contains(&*holder.run_uid));
        let is_armed = text.is_some() || waits || has_others_faults(pod);
        actions.armed_pods += usize::from(is_armed);
        match (text, &pod.annotation) {
            (Some(Text::Write(text)), _) => actions.write.push(change(pod, Some(text))),
            (Some(Text::Stays), _) => {}
            (None, Annotation::Ours { .. }) if waits => {}
            (None, Annotation::Ours { .. }) => actions.clear.push(change(pod, None)),
            (None, Annotation::None | Annotation::Theirs { .. }) => {}
        }
    }
    actions.is_cut = !waiting.is_empty();
    judge_experiments(observed, memory, has_time, &mut actions);
    actions.forget = surplus(observed);
    forget(observed, memory);
    let ending = observed.runs.iter().filter(|run| memory.turns.is_ending(run));
    actions.ending = ending.map(|run| full_name(run)).collect();
    actions.ask = memory.turns.questions().cloned().collect();
    actions
}

/// Takes one run further.
fn visit(
    run: &Arc<Run>,
    observed: &Observed,
    memory: &mut Memory,
    texts: &mut BTreeMap<String, Text>,
    actions: &mut Actions,
) {
    memory.promised.forget(uid(run));
    let Some(mut progress) = advance(run, observed, memory) else {
        memory.turns.note(run, Vec::new(), false);
        return;
    };
    tell_of_report(run, &mut progress.status, observed.now, memory);
    let removed = progress.removals.iter().map(|removal| &removal.uid);
    let wanted: Vec<String> = progress.texts.keys().chain(removed).cloned().collect();
    memory.promised.add(uid(run), wanted);
    texts.extend(progress.texts);
    actions.remove.extend(progress.removals);
    memory.turns.note(run, progress.questions, progress.is_ending);
    if run.status.as_ref() != Some(&progress.status) {
        fit(&mut progress.status);
    }
    report(run, &progress.status, observed.now, memory, actions);
    if run.status.as_ref() != Some(&progress.status) {
        let had_reason = run.status.as_ref().is_some_and(|status| status.reason.is_some());
        let statuses = match progress.status.reason {
            Some(_) if progress.is_ending && !had_reason => &mut actions.decisions,
            Some(_) | None => &mut actions.runs,
        };
        statuses.push((run.clone(), progress.status));
    }
}

/// Judges experiments that have changed since they were judged last, one at least.
fn judge_experiments(
    observed: &Observed,
    memory: &mut Memory,
    mut has_time: impl FnMut() -> bool,
    actions: &mut Actions,
) {
    let mut had_one = false;
    for experiment in &observed.experiments {
        let own = experiment.metadata.uid.as_deref().unwrap_or_default();
        let generation = experiment.metadata.generation.unwrap_or_default();
        if memory.judged.get(own).is_none_or(|one| one.generation != generation) {
            if had_one && !has_time() {
                actions.is_cut = true;
                continue;
            }
            had_one = true;
            let mistake = mistake(experiment, observed, memory);
            memory.judged.insert(own.to_owned(), Judged { generation, mistake });
        }
        let mistake = memory.judged.get(own).and_then(|one| one.mistake.as_deref());
        let status = judged(experiment, mistake, observed.now);
        if experiment.status.as_ref() != Some(&status) {
            actions.experiments.push((experiment.clone(), status));
        }
    }
}

/// Forgets what nobody looks at any more.
fn forget(observed: &Observed, memory: &mut Memory) {
    let runs: BTreeSet<&str> = observed.runs.iter().map(|run| uid(run)).collect();
    memory.ledgers.retain(|uid| runs.contains(uid));
    memory.addresses.retain(|uid| runs.contains(uid));
    let live: BTreeSet<&str> =
        observed.runs.iter().filter(|run| !is_finished(run)).map(|run| uid(run)).collect();
    memory.watches.retain(|uid| live.contains(uid));
    memory.promised.retain(|uid| live.contains(uid));
    memory.samples.retain(|uid, _| live.contains(uid.as_str()));
    // One that has finished is looked at once more, and says whether its report could be written.
    let had = observed.runs.iter().filter(|run| is_finished(run) && memory.turns.had(run));
    let told: BTreeSet<&str> = had.map(|run| uid(run)).collect();
    memory.reports.retain(|uid| runs.contains(uid) && !told.contains(uid));
    memory.turns.retain(|uid| live.contains(uid));
    let experiments: BTreeSet<Option<&str>> =
        observed.experiments.iter().map(|one| one.metadata.uid.as_deref()).collect();
    memory.judged.retain(|uid, _| experiments.contains(&Some(uid.as_str())));
}

fn is_finished(run: &Run) -> bool {
    run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Finished)
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

/// The run whose faults a pod has.
fn holder_of(pod: &PodFacts) -> Option<&Holder> {
    match &pod.annotation {
        Annotation::Ours { holder, .. } => holder.as_ref(),
        Annotation::None | Annotation::Theirs { .. } => None,
    }
}

/// Whether somebody else has broken a pod, as its agent says.
fn has_others_faults(pod: &PodFacts) -> bool {
    let is_armed = || pod.status.as_ref().is_some_and(|status| status.phase == PodPhase::Armed);
    matches!(pod.annotation, Annotation::Theirs { .. }) && is_armed()
}

/// What is wrong with an experiment, if anything is.
fn mistake(experiment: &Experiment, observed: &Observed, memory: &mut Memory) -> Option<String> {
    let Memory { expressions, checks, .. } = memory;
    let read = Script::read(&experiment.spec, [], Mode::Armed, expressions, checks);
    let home = experiment.namespace().unwrap_or_default();
    match read {
        Ok(script) => script.misplaced(&home, &observed.own),
        Err(error) => Some(error.to_string()),
    }
}

/// The status of an experiment that can be read, or that has a mistake.
fn judged(experiment: &Experiment, mistake: Option<&str>, now: Timestamp) -> ExperimentStatus {
    let mut status = experiment.status.clone().unwrap_or_default();
    let (is, reason, message) = match mistake {
        None => (true, "Valid", ""),
        Some(mistake) => (false, "Invalid", mistake),
    };
    Condition::set(&mut status.conditions, "Accepted", is, reason, message, Time(now));
    status
}

#[cfg(test)]
mod tests;
