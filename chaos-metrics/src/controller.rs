//! Measures a controller.

mod reading;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chaos_api::{
    ControllerObserver,
    clock::boot_now,
    kinds::{Reason, Run, RunPhase, RunStatus},
};
use hyper::StatusCode;
use kube::ResourceExt as _;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

pub(crate) use self::reading::reading;
use crate::{
    agent::CONTENT_TYPE,
    fold::Folded,
    server::{Page, Pages},
};

/// Series of each metric; what comes on top is summed.
const MOST: usize = 1_000;

/// How long what is said of a run is kept after its end (ns).
const KEPT: u64 = 900_000_000_000;

/// What is measured of a controller.
pub struct ControllerMeter {
    version: &'static str,
    is_synced: AtomicBool,
    /// When the loop looked last; boot clock, ns; 0 for never.
    looked: AtomicU64,
    took: Histogram,
    state: Mutex<State>,
}

struct State {
    leads: bool,
    /// All that there are, while this controller leads.
    runs: Vec<Arc<Run>>,
    /// When a run was seen last that had not ended, by its UID; boot clock, ns.
    active: BTreeMap<String, u64>,
    ended: Folded<u64>,
    halts: Folded<u64>,
    annotated: Folded<u64>,
}

impl ControllerMeter {
    pub fn new(version: &'static str) -> Self {
        Self {
            version,
            is_synced: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            // From a millisecond to half a minute, which is the longest that a probe may take.
            took: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            state: Mutex::new(State {
                leads: false,
                runs: Vec::new(),
                active: BTreeMap::new(),
                ended: Folded::new(MOST),
                halts: Folded::new(MOST),
                annotated: Folded::new(MOST),
            }),
        }
    }

    /// Whether everything was listed once.
    pub fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Relaxed)
    }

    /// How long ago the loop has looked; `None` where it never has.
    pub fn looked_ago(&self) -> Option<Duration> {
        let looked = self.looked.load(Ordering::Relaxed);
        (looked > 0).then(|| Duration::from_nanos(boot_now().saturating_sub(looked)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn see(&mut self, runs: Option<Vec<Arc<Run>>>, now: u64) {
        self.leads = runs.is_some();
        self.runs = runs.unwrap_or_default();
        let is_active = |run: &Run| {
            run.status.as_ref().is_some_and(|status| status.phase != RunPhase::Finished)
        };
        for run in self.runs.iter().filter(|run| is_active(run)) {
            self.active.insert(run.uid().unwrap_or_default(), now);
        }
        self.active.retain(|_, seen| now.saturating_sub(*seen) < KEPT);
    }

    fn count(&mut self, before: Option<&RunStatus>, run: &Run, is_halted: bool) {
        let Some(status) = &run.status else { return };
        let (namespace, was) = (run.namespace().unwrap_or_default(), before.map(|one| one.phase));
        if before.and_then(|before| before.reason) != status.reason
            && let Some(cause) =
                status.reason.and_then(|reason| cause(reason, is_halted, run.spec.halt))
        {
            self.halts.add(vec![namespace.clone(), cause.to_owned()], 1);
        }
        if status.phase == RunPhase::Finished && was != Some(RunPhase::Finished) {
            let verdict = status.verdict.map_or_else(String::new, |one| format!("{one:?}"));
            let hypothesis = status.hypothesis.map_or_else(String::new, |one| format!("{one:?}"));
            let reason = status.reason.map_or_else(String::new, |one| format!("{one:?}"));
            let labels = vec![namespace, experiment(run), verdict, hypothesis, reason];
            self.ended.add(labels, 1);
        }
    }
}

/// What has halted a run; `None` where it came to its end otherwise.
fn cause(reason: Reason, is_lever_pulled: bool, is_asked_for: bool) -> Option<&'static str> {
    match reason {
        Reason::ProbeBroke | Reason::ProbeBlind => Some("probe"),
        Reason::Halted if is_lever_pulled => Some("lever"),
        Reason::Halted if is_asked_for => Some("human"),
        Reason::Halted => Some("limit"),
        Reason::ExperimentDeleted => Some("deleted"),
        Reason::Completed
        | Reason::Planned
        | Reason::Refused
        | Reason::StepFailed
        | Reason::BaselineBroken => None,
    }
}

/// The experiment of a run; empty where the run has its steps in it.
fn experiment(run: &Run) -> String {
    run.spec.experiment.clone().unwrap_or_default()
}

impl ControllerObserver for ControllerMeter {
    fn synced(&self) {
        self.is_synced.store(true, Ordering::Relaxed);
    }

    fn looked(&self, runs: Option<Vec<Arc<Run>>>) {
        let now = boot_now();
        self.looked.store(now, Ordering::Relaxed);
        self.state().see(runs, now);
    }

    fn wrote(&self, before: Option<&RunStatus>, run: &Run, is_halted: bool) {
        self.state().count(before, run, is_halted);
    }

    fn annotated(&self, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.state().annotated.add(vec![code], 1);
    }

    fn asked(&self, took: Duration) {
        self.took.observe(took.as_secs_f64());
    }
}

impl Pages for ControllerMeter {
    async fn page(&self, path: &str) -> Option<Page> {
        if path != "/metrics" {
            return None;
        }
        Some(match reading(self).text() {
            Ok(body) => {
                Page { status: StatusCode::OK, content_type: CONTENT_TYPE, body: body.into() }
            }
            Err(error) => Page::line(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests;
