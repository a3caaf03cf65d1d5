//! Marks on Grafana's dashboards when runs break pods: an annotation from the beginning of the first step that does so
//! until the run has ended.
//!
//! The loop says what there is to tell, and never waits: a task of its own makes the requests, from a queue that has a
//! bound. What was told is found again by its tags, so that whoever leads next tells nothing twice.

mod annotation;
mod client;
mod queue;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chaos_api::kinds::Run;
use chaos_probe::ServerUrl;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use self::{
    annotation::{Annotation, span},
    client::Client,
    queue::Queue,
    work::{Pace, work},
};
use crate::names::uid;

/// How long after its end a run is told of by a controller that did not lead then.
const LATE: SignedDuration = SignedDuration::from_mins(10);

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which Grafana is told.
#[derive(Debug, Clone)]
pub struct GrafanaOptions {
    /// Its root.
    pub url: ServerUrl,
    /// The file with the token of a service account, read for each request. Without, requests have none.
    pub token_file: Option<PathBuf>,
}

/// Tells a Grafana of runs. Dropping it drops what is not told yet.
pub struct Grafana {
    queue: Arc<Queue>,
    /// Since when this controller leads, without a break.
    since: Option<Timestamp>,
    /// What was asked for, by the UIDs of the runs that there are.
    told: BTreeMap<String, Told>,
    _work: JoinSet<()>,
}

enum Told {
    Begun(Annotation),
    Ended,
}

impl Grafana {
    /// Begins a task that tells.
    pub fn new(options: GrafanaOptions) -> Self {
        Self::paced(options, TIMEOUT, Pace::default())
    }

    fn paced(options: GrafanaOptions, timeout: Duration, pace: Pace) -> Self {
        let queue = Arc::new(Queue::default());
        let mut task = JoinSet::new();
        task.spawn(work(queue.clone(), Client::new(options, timeout), pace));
        Self { queue, since: None, told: BTreeMap::new(), _work: task }
    }

    /// Says what has begun and ended among all runs that there are, while this controller leads.
    pub fn look(&mut self, runs: &[Arc<Run>], now: Timestamp) {
        let since = *self.since.get_or_insert(now);
        for run in runs {
            self.look_at(run, since);
        }
        let there: BTreeSet<&str> = runs.iter().map(|run| uid(run)).collect();
        let (told, gone) = std::mem::take(&mut self.told)
            .into_iter()
            .partition(|(uid, _)| there.contains(uid.as_str()));
        self.told = told;
        for (uid, told) in gone {
            if let Told::Begun(annotation) = told {
                self.queue.push(&uid, annotation.deleted(now));
            }
        }
    }

    /// Another controller leads, and tells.
    pub fn forget(&mut self) {
        self.since = None;
        self.told.clear();
        self.queue.clear();
    }

    fn look_at(&mut self, run: &Run, since: Timestamp) {
        let told = self.told.get(uid(run));
        let Some((begin, end)) = span(run) else { return };
        match (told, end) {
            (Some(Told::Ended), _) | (Some(Told::Begun(_)), None) => return,
            (None | Some(Told::Begun(_)), _) => {}
        }
        let at = end.unwrap_or(begin);
        if end.is_some() && told.is_none() && at < since - LATE {
            self.told.insert(uid(run).to_owned(), Told::Ended);
            return;
        }
        // What another leader has told in all likelihood takes nobody's place.
        if told.is_none() && at < since && !self.queue.has_room() {
            return;
        }
        let Some(annotation) = Annotation::of(run) else { return };
        let is_ended = end.is_some();
        self.queue.push(uid(run), annotation.clone());
        let told = if is_ended { Told::Ended } else { Told::Begun(annotation) };
        self.told.insert(uid(run).to_owned(), told);
    }
}
