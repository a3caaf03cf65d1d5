//! Says whose turn it is in a look that has no time for all runs: first those that must not wait, then whoever has waited
//! longest. Keeps what the others asked for when it was theirs.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::kinds::{During, Run, RunPhase, RunStatus, StepPhase};
use chaos_probe::{Outcome, Sample};
use kube::ResourceExt as _;

use crate::{
    names::uid,
    observed::Observed,
    probes::{Question, Samples},
};

/// The turns of runs, by their UIDs.
#[derive(Debug, Default)]
pub struct Turns {
    look: u64,
    last: BTreeMap<String, Last>,
}

/// What a run asked for at its last turn.
#[derive(Debug, Default)]
struct Last {
    look: u64,
    questions: Vec<Question>,
    is_ending: bool,
}

/// A run whose turn may come.
pub struct Candidate<'a> {
    pub run: &'a Arc<Run>,
    pub rank: Rank,
}

/// Which runs come before which others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Somebody has ended it, and its status does not say so yet. That happens once to each run, so the runs of others
    /// hold it up for no longer than their own ends take.
    Stopped,
    /// It is being ended, a step's time is up, or a probe has failed that may end it.
    Pressing,
    Patient,
}

impl Turns {
    /// Begins a look. The runs that have something to be decided, in the order of their turns: those that were looked at
    /// together keep the order in which they are observed.
    pub fn begin<'a>(
        &mut self,
        observed: &'a Observed,
        samples: &Samples,
        is_open: impl Fn(&Run) -> bool,
    ) -> Vec<Candidate<'a>> {
        let before = self.look;
        self.look += 1;
        let candidate = |run| Candidate { run, rank: self.rank(run, observed, samples) };
        let open = observed.runs.iter().filter(|run| is_open(run));
        let mut candidates: Vec<Candidate<'_>> = open.map(candidate).collect();
        for Candidate { run, .. } in &candidates {
            // One that is new waits from now on, like those that had their turn in the look before.
            let new = || Last { look: before, ..Last::default() };
            self.last.entry(uid(run).to_owned()).or_insert_with(new);
        }
        let last = |run: &Run| self.last.get(uid(run)).map_or(before, |last| last.look);
        candidates.sort_by_key(|one| (one.rank, last(one.run)));
        candidates
    }

    fn rank(&self, run: &Run, observed: &Observed, samples: &Samples) -> Rank {
        let Some(status) = &run.status else {
            return if run.spec.halt { Rank::Stopped } else { Rank::Patient };
        };
        if status.phase == RunPhase::Finished {
            return Rank::Patient;
        }
        let namespace = run.namespace().unwrap_or_default();
        let is_gone = |name: &String| observed.experiment(&namespace, name).is_none();
        let is_stopped = || {
            run.spec.halt
                || observed.lever.is_some()
                || namespace != observed.own && !observed.enabled.contains_key(&namespace)
                || run.spec.experiment.as_ref().is_some_and(is_gone)
        };
        if status.reason.is_none() && is_stopped() {
            return Rank::Stopped;
        }
        let mut samples = samples.get(uid(run)).into_iter().flatten();
        let is_pressing = status.reason.is_some()
            || is_up(status, observed)
            || samples.any(|(probe, sample)| self.may_end(run, probe, sample));
        if is_pressing { Rank::Pressing } else { Rank::Patient }
    }

    /// Whether a run may be over by what a probe has seen. One that is asked no more may be.
    fn may_end(&self, run: &Run, probe: &str, sample: &Sample) -> bool {
        let questions = self.last.get(uid(run)).into_iter().flat_map(|last| &last.questions);
        let mut probes = questions.map(|question| &question.probing.probe);
        let during = probes.find(|asked| asked.name == probe).map(|asked| asked.during);
        match (sample.outcome, during.unwrap_or_default()) {
            (Outcome::Pass, _) | (_, During::Record) | (Outcome::Fail, During::MustBreak) => false,
            (Outcome::Fail | Outcome::Error, During::Halt)
            | (Outcome::Error, During::MustBreak) => true,
        }
    }

    /// Notes what a run asks for in this look.
    pub fn note(&mut self, run: &Run, questions: Vec<Question>, is_ending: bool) {
        let last = Last { look: self.look, questions, is_ending };
        self.last.insert(uid(run).to_owned(), last);
    }

    /// Whether a run was looked at in this look.
    pub fn had(&self, run: &Run) -> bool {
        self.last.get(uid(run)).is_some_and(|last| last.look == self.look)
    }

    /// What the probes of all runs are asked.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.last.values().flat_map(|last| &last.questions)
    }

    /// Whether the faults of a run are being taken away, as far as is known.
    pub fn is_ending(&self, run: &Run) -> bool {
        self.last.get(uid(run)).is_some_and(|last| last.is_ending)
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.last.retain(|run_uid, _| is_live(run_uid));
    }
}

/// Whether the time of the step that runs is up.
fn is_up(status: &RunStatus, observed: &Observed) -> bool {
    let mut running = status.steps.iter().filter(|step| step.phase == StepPhase::Running);
    running.any(|step| step.ends.as_ref().is_some_and(|ends| ends.0 <= observed.now))
}
