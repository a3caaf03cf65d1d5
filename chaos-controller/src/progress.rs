//! Takes a run from one state to the next. What is to be done is written to the status first; texts follow from a
//! status that is there, so whoever leads after a crash does the same.

mod check;
mod heal;
mod ledger;
mod pods;
mod step;
mod watch;

use std::{borrow::Cow, collections::BTreeMap};

use chaos_api::kinds::{
    Condition, Evidence, ExperimentSpec, LedgerSums, Mode, PodAction, Reason, Run, RunPhase,
    RunStatus, StepPhase, StepStatus, Summary, TargetCounts,
};
use chaos_fault::Fault;
use chaos_kube::ENABLED;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::{
    addresses::Addresses,
    counted::counted,
    expression::Expressions,
    hypothesis,
    ledger::Ledgers,
    observed::Observed,
    peers::{PeerError, put_in},
    probes::{Checks, LibraryError, Probing, Question, Samples, Watches, with_probes},
    promised::Promised,
    removal::PodRemoval,
    report::Reports,
    script::{Act, Deed, Script},
    turns::Turns,
    verdict::judge,
};

/// How long a run waits for an experiment that is not there, as both may come with one `kubectl apply`, and for the texts
/// of runs that have just ended.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// How long the last ledgers are waited for when faults have ended, or were taken away.
const FAREWELL: SignedDuration = SignedDuration::from_secs(10);

/// What a run says and wants.
#[derive(Debug)]
pub struct Progress {
    /// The status that it should have.
    pub status: RunStatus,
    /// The texts that its pods should have, by their UID; none but these should have one of its texts.
    pub texts: BTreeMap<String, Text>,
    /// Its faults are being taken away, before their time.
    pub is_ending: bool,
    /// The pods that it removes now.
    pub removals: Vec<PodRemoval>,
    /// What its probes are asked from now on.
    pub questions: Vec<Question>,
}

impl Progress {
    fn of(status: RunStatus) -> Self {
        Self {
            status,
            texts: BTreeMap::new(),
            is_ending: false,
            removals: Vec::new(),
            questions: Vec::new(),
        }
    }
}

/// What is to be done about a pod of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// It is there, and stays.
    Stays,
    Write(String),
}

/// What is kept from one look to the next.
#[derive(Default)]
pub struct Memory {
    pub expressions: Expressions,
    pub checks: Checks,
    pub ledgers: Ledgers,
    pub addresses: Addresses,
    pub reports: Reports,
    pub watches: Watches,
    /// The pods that runs want: other runs want others.
    pub promised: Promised,
    /// What probes have answered since the last turn of their runs.
    pub samples: Samples,
    pub turns: Turns,
    /// How experiments were judged, by their UIDs.
    pub judged: BTreeMap<String, Judged>,
}

/// What is wrong with an experiment as it was in this generation, if anything is.
#[derive(Debug)]
pub struct Judged {
    pub generation: i64,
    pub mistake: Option<String>,
}

/// Which run.
struct Identity {
    namespace: String,
    name: String,
    uid: String,
}

/// A run, what there is beside it, and what is remembered.
struct Turn<'a> {
    run: &'a Run,
    identity: Identity,
    observed: &'a Observed,
    memory: &'a mut Memory,
}

/// Takes a run one state further. `None`: there is nothing to be said yet.
pub fn advance(run: &Run, observed: &Observed, memory: &mut Memory) -> Option<Progress> {
    let mut turn = Turn {
        run,
        identity: Identity {
            namespace: run.namespace().unwrap_or_default(),
            name: run.name_any(),
            uid: run.uid().unwrap_or_default(),
        },
        observed,
        memory,
    };
    let finished = |status: &RunStatus| status.phase == RunPhase::Finished;
    match run.status.clone() {
        None => turn.begin().map(Progress::of),
        Some(status) if finished(&status) => Some(Progress::of(status)),
        Some(status) => Some(turn.go_on(status)),
    }
}

impl Turn<'_> {
    /// Reads the experiment, plans all of its steps, and begins the first.
    fn begin(&mut self) -> Option<RunStatus> {
        let empty = RunStatus {
            phase: RunPhase::Running,
            reason: None,
            message: String::new(),
            verdict: None,
            verdict_reason: None,
            verdict_message: String::new(),
            hypothesis: None,
            hypothesis_reason: None,
            hypothesis_message: String::new(),
            spec: None,
            steps: Vec::new(),
            probes: Vec::new(),
            recovering: None,
            summary: Summary::default(),
            targets: TargetCounts::default(),
            ledger: LedgerSums::default(),
            exceptions: Vec::new(),
            report: None,
            conditions: Vec::new(),
        };
        if self.run.spec.halt {
            return Some(self.finish(
                empty,
                &[],
                Reason::Halted,
                "it was halted before it began".to_owned(),
            ));
        }
        let spec = match self.spec() {
            Ok(spec) => spec,
            Err(Missing::Soon) => return None,
            Err(Missing::Experiment(why)) => {
                return Some(self.finish(empty, &[], Reason::Refused, why));
            }
        };
        let script = match self.script(&spec) {
            Ok(script) => script,
            Err(why) => return Some(self.finish(empty, &[], Reason::Refused, why)),
        };
        let waits =
            self.observed.has_leftovers(&self.identity.namespace) || self.awaits_peers(&script);
        if waits && self.is_young() {
            return None;
        }
        let steps = script.steps.iter().map(|act| StepStatus {
            name: act.name.clone(),
            phase: StepPhase::Pending,
            started: None,
            ends: None,
            picked: 0,
            last_hash: None,
            pods: Vec::new(),
            ready: 0,
            ledger: LedgerSums::default(),
            evidence: Evidence::default(),
        });
        let mut status = RunStatus { steps: steps.collect(), spec: Some(spec), ..empty };
        let refusals = self.refusals(&script, &mut status);
        if !refusals.is_empty() {
            return Some(self.finish(status, &script.probes, Reason::Refused, refusals.join("; ")));
        }
        self.set(&mut status, "Planned", true, "Planned", "every step can be done");
        let has_questions = script.probes.iter().any(Probing::is_asked);
        match self.run.spec.mode {
            Mode::Plan if !has_questions => {
                let message = plan_in_words(&status, &script);
                return Some(self.finish(status, &script.probes, Reason::Planned, message));
            }
            Mode::Plan => {}
            Mode::Shadow | Mode::Armed => {
                status.report = Some(format!("{}-report", self.identity.name));
                self.memory.reports.begin(&self.identity.uid);
            }
        }
        if !has_questions {
            return Some(self.start(status, &script, 0));
        }
        status.phase = RunPhase::Baseline;
        Some(status)
    }

    /// Goes on with a run that has not ended.
    fn go_on(&mut self, mut status: RunStatus) -> Progress {
        let Some(script) = status.spec.clone().and_then(|spec| self.script(&spec).ok()) else {
            // Only somebody who wrote the status could have made it so.
            let why = "the copy of the experiment in the status cannot be read".to_owned();
            return self.end(status, None, Reason::StepFailed, why);
        };
        self.count(&script, &mut status);
        self.take_samples(&script, &mut status);
        let progress = self.next(status, &script);
        let questions = self.questions(&script, &progress.status);
        Progress { questions, ..progress }
    }

    /// Goes by its phase, and by why it is to end, if it is.
    fn next(&mut self, mut status: RunStatus, script: &Script) -> Progress {
        if let Some((reason, why)) = self.end_reason(script, &status).or_else(|| cut(&status)) {
            return self.end(status, Some(script), reason, why);
        }
        match status.phase {
            RunPhase::Baseline => self.before(status, script),
            RunPhase::Running => {
                if status.reason.is_some() || self.breaks(&mut status, script) {
                    return self.withdraw(status, script);
                }
                self.step(status, script)
            }
            RunPhase::Recovering => self.after(status, script),
            RunPhase::Finished => Progress::of(status),
        }
    }

    /// Goes on with the step that runs, or begins the next one.
    fn step(&mut self, mut status: RunStatus, script: &Script) -> Progress {
        let running = status.steps.iter().position(|step| step.phase == StepPhase::Running);
        let Some(index) = running else {
            let next = status.steps.iter().position(|step| step.phase == StepPhase::Pending);
            let status = self.start(status, script, next.unwrap_or(script.steps.len()));
            return Progress::of(status);
        };
        match &script.steps[index].deed {
            Deed::Wait(_) => {
                let is_over =
                    ends(&status.steps[index]).is_none_or(|ends| self.observed.now >= ends);
                if is_over {
                    status.steps[index].phase = StepPhase::Done;
                    status = self.start(status, script, index + 1);
                }
                Progress::of(status)
            }
            Deed::Fault { .. } => self.fault(status, script, index),
            Deed::Pods { .. } => self.remove(status, script, index),
            Deed::Check { .. } => self.check(status, script, index),
        }
    }

    /// Takes the texts away, waits for what agents have counted, then says why the run has ended.
    fn end(
        &mut self,
        mut status: RunStatus,
        script: Option<&Script>,
        reason: Reason,
        why: String,
    ) -> Progress {
        // What a probe has decided before stays the reason.
        let decided = status.reason.map(|decided| (decided, status.message.clone()));
        let held = self.held();
        if held > 0 {
            if decided.is_none() {
                let have = if held == 1 { "has" } else { "have" };
                let pods = counted(held as u64, "pod");
                status.message = format!("{why}; {pods} still {have} its faults");
            }
            return Progress { is_ending: true, ..Progress::of(status) };
        }
        let (reason, why) = decided.unwrap_or((reason, why));
        if script.is_some_and(|script| self.awaits_counts(script, &mut status, FAREWELL)) {
            // Texts that were taken away are not put back, also where what has ended the run is over before the wait is.
            (status.reason, status.message) = (Some(reason), why);
            return Progress::of(status);
        }
        fail_running(&mut status);
        let probes = script.map_or(&[][..], |script| &script.probes);
        Progress::of(self.finish(status, probes, reason, why))
    }

    /// How many pods have a text of the run.
    fn held(&self) -> usize {
        let pods = self.observed.within_reach(&self.identity.namespace);
        pods.filter(|pod| pod.is_held_by(&self.identity.uid)).count()
    }

    /// Why a run is to end at once.
    fn end_reason(&self, script: &Script, status: &RunStatus) -> Option<(Reason, String)> {
        if self.run.spec.halt {
            return Some((Reason::Halted, "it was halted".to_owned()));
        }
        if let Some(why) = self.halted() {
            return Some((Reason::Halted, why));
        }
        if let Some(name) = &self.run.spec.experiment
            && self.observed.experiment(&self.identity.namespace, name).is_none()
        {
            return Some((Reason::ExperimentDeleted, format!("experiment {name} was deleted")));
        }
        let mut namespaces = script.namespaces(&self.identity.namespace).into_iter();
        if let Some(other) = namespaces.find(|name| !self.observed.enabled.contains_key(*name)) {
            return Some((Reason::Halted, not_enabled(other)));
        }
        // While probes must hold again, nothing is broken that could go beyond them.
        let is_over = status.phase == RunPhase::Recovering;
        if let Some(why) = self.beyond_ceilings(script).into_iter().next().filter(|_| !is_over) {
            return Some((Reason::Halted, why));
        }
        if status.reason.is_some() {
            return None;
        }
        let mut failed = script.steps.iter().zip(&status.steps);
        let (act, _) =
            failed.find(|(act, step)| step.phase == StepPhase::Failed && act.stops_at_errors())?;
        Some((
            Reason::StepFailed,
            failure(status, &act.name).unwrap_or_else(|| format!("step {} failed", act.name)),
        ))
    }

    fn script(&mut self, spec: &ExperimentSpec) -> Result<Script, String> {
        let given = self.run.spec.params.iter().map(|(name, value)| (name, value.0.as_str()));
        let Memory { expressions, checks, .. } = &mut *self.memory;
        let read = Script::read(spec, given, self.run.spec.mode, expressions, checks);
        let script = read.map_err(|error| error.to_string())?.drawn(&self.identity.uid);
        match script.misplaced(&self.identity.namespace, &self.observed.own) {
            None => Ok(script),
            Some(why) => Err(why),
        }
    }

    /// What the run is to do.
    fn spec(&self) -> Result<ExperimentSpec, Missing> {
        let namespace = &self.identity.namespace;
        let missing = |why: String| match self.is_young() {
            true => Missing::Soon,
            false => Missing::Experiment(why),
        };
        let found = match (self.observed.asked_of(self.run), &self.run.spec.experiment) {
            (Some(spec), _) => spec,
            (None, Some(name)) => {
                return Err(missing(format!(
                    "there is no experiment {name} in namespace {namespace}"
                )));
            }
            (None, None) => {
                let why = "the run names no experiment, and has none inline";
                return Err(Missing::Experiment(why.to_owned()));
            }
        };
        if found.steps.is_empty() {
            let why = "the experiment has no steps: it is a library of probes; name it in `probesFrom` of another";
            return Err(Missing::Experiment(why.to_owned()));
        }
        let library = |name: &str| self.observed.experiment(namespace, name).map(|one| &one.spec);
        with_probes(found, library).map_err(|error| match error {
            LibraryError::Missing(_) => missing(error.to_string()),
            LibraryError::Param { .. }
            | LibraryError::Clash { .. }
            | LibraryError::Account { .. }
            | LibraryError::TooMany(_) => Missing::Experiment(error.to_string()),
        })
    }

    /// Whether a DNS name of a peer is being looked up for the first time.
    fn awaits_peers(&self, script: &Script) -> bool {
        let mut found = script.steps.iter().filter_map(|act| match &act.deed {
            Deed::Fault { faults, .. } => Some(self.with_addresses(script, faults)),
            Deed::Pods { .. } | Deed::Check { .. } | Deed::Wait(_) => None,
        });
        found.any(|found| found.is_err_and(|error| error.is_soon()))
    }

    /// Faults with addresses in place of names, as they are at this moment.
    fn with_addresses<'f>(
        &self,
        script: &Script,
        faults: &'f [Fault],
    ) -> Result<Cow<'f, [Fault]>, PeerError> {
        put_in(faults, &script.peers, &self.identity.namespace, self.observed)
    }

    fn is_young(&self) -> bool {
        let created = self.run.creation_timestamp().map_or(self.observed.now, |time| time.0);
        self.observed.now.duration_since(created) < PATIENCE
    }

    /// Why namespaces forbid the steps now, where they do.
    fn beyond_ceilings(&self, script: &Script) -> Vec<String> {
        let refusal = |namespace: &str| {
            let allowed = self.observed.enabled.get(namespace)?;
            let closed = || match self.run.spec.mode {
                // What only says what it would do may do so at any time.
                Mode::Plan => None,
                Mode::Shadow | Mode::Armed => allowed.closed(self.observed.now),
            };
            let why = allowed.too_long(script.lasting()).or_else(closed)?;
            Some(format!("namespace {namespace}: {why}"))
        };
        script.namespaces(&self.identity.namespace).into_iter().filter_map(refusal).collect()
    }

    /// Why the whole cluster is halted, if it is.
    pub(super) fn halted(&self) -> Option<String> {
        self.observed.lever.as_ref().map(|reason| format!("the cluster is halted: {reason}"))
    }

    fn finish(
        &self,
        status: RunStatus,
        probes: &[Probing],
        reason: Reason,
        message: String,
    ) -> RunStatus {
        let mut status =
            RunStatus { phase: RunPhase::Finished, reason: Some(reason), message, ..status };
        let judgement = judge(&status, self.run.spec.mode);
        status.verdict = Some(judgement.verdict);
        status.verdict_reason = Some(judgement.reason);
        status.verdict_message = judgement.message;
        if let Some(judgement) = hypothesis::judge(&status, probes, self.run.spec.mode) {
            status.hypothesis = Some(judgement.hypothesis);
            status.hypothesis_reason = Some(judgement.reason);
            status.hypothesis_message = judgement.message;
        }
        let (reason, message) = (format!("{reason:?}"), status.message.clone());
        self.set(&mut status, "Finished", true, &reason, &message);
        if status.conditions.iter().any(|condition| condition.type_ == "Armed") {
            self.set(&mut status, "Armed", false, "Finished", "the run has ended");
        }
        status
    }

    fn set(&self, status: &mut RunStatus, type_: &str, is: bool, reason: &str, message: &str) {
        Condition::set(&mut status.conditions, type_, is, reason, message, Time(self.observed.now));
    }
}

/// Why there is nothing to do yet, or ever.
enum Missing {
    Soon,
    Experiment(String),
}

/// Why a run is being ended, where something else than its probes has decided that before.
fn cut(status: &RunStatus) -> Option<(Reason, String)> {
    match status.reason? {
        reason @ (Reason::Halted | Reason::ExperimentDeleted | Reason::StepFailed) => {
            Some((reason, status.message.clone()))
        }
        Reason::Completed
        | Reason::Planned
        | Reason::Refused
        | Reason::BaselineBroken
        | Reason::ProbeBroke
        | Reason::ProbeBlind => None,
    }
}

fn not_enabled(namespace: &str) -> String {
    format!("namespace {namespace} does not allow faults; label it {ENABLED}=true")
}

/// Says of the step that runs that it was not done to its end.
fn fail_running(status: &mut RunStatus) {
    for step in &mut status.steps {
        if step.phase == StepPhase::Running {
            step.phase = StepPhase::Failed;
            step.pods.clear();
        }
    }
}

/// When a step's time is over.
fn ends(step: &StepStatus) -> Option<Timestamp> {
    step.ends.as_ref().map(|time| time.0)
}

/// What is said of a step that failed.
fn failure(status: &RunStatus, step: &str) -> Option<String> {
    let place = format!("step {step}: ");
    let is_of_step =
        |one: &&Condition| one.reason == "Failed" && one.message.starts_with(place.as_str());
    status.conditions.iter().find(is_of_step).map(|condition| condition.message.clone())
}

fn plan_in_words(status: &RunStatus, script: &Script) -> String {
    let TargetCounts { selected, nodes, .. } = status.targets;
    let picked = script.steps.iter().zip(&status.steps).filter(|(_, step)| step.picked > 0);
    let would = |(act, step): (&Act, &StepStatus)| match &act.deed {
        Deed::Pods { action, .. } => {
            let verb = match action {
                PodAction::Delete => "delete",
                PodAction::Evict => "evict",
                PodAction::Restart => "restart",
            };
            format!("{} would {verb} {}", step.name, counted(step.picked, "pod"))
        }
        Deed::Fault { .. } | Deed::Check { .. } | Deed::Wait(_) => {
            format!("{} would break {}", step.name, counted(step.picked, "pod"))
        }
    };
    let steps: Vec<String> = picked.map(would).collect();
    if steps.is_empty() {
        return "no step would break a pod".to_owned();
    }
    format!("{}, of {selected} selected, on {}", steps.join("; "), counted(nodes, "node"))
}
