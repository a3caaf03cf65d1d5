//! Writes what was decided, each request as long as this controller leads and no longer than it is patient.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::kinds::{Run, RunStatus};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::{
    Resource as _, ResourceExt as _,
    runtime::events::{Recorder, Reporter},
};
use tokio::time::{sleep_until, timeout};

use super::Controller;
use crate::{
    events::{self, Happening},
    names::{FIELD_MANAGER, full_name},
    pods::slim,
    reconcile::PodWrite,
    removal::PodRemoval,
    removals::Answer,
    report, write,
};

/// Annotations that are written in one second, and between two renewals of the Lease.
const PACE: u32 = 300;

/// Of these so many at once.
pub(super) const AT_ONCE: usize = 64;

/// What is only counted is written this often.
const CADENCE: Duration = Duration::from_secs(3);

impl Controller {
    pub(super) async fn tell(&mut self, ending: BTreeSet<String>) {
        if let Err(error) = self.leadership.tell(ending).await {
            tracing::warn!(%error, "agents were not told which runs end");
        }
    }

    /// Writes what probes have decided about runs, of all of them together. The runs, with what is to be published of them.
    pub(super) async fn write_decisions(
        &mut self,
        decisions: Vec<(Arc<Run>, RunStatus)>,
    ) -> Vec<(Run, Vec<Happening>)> {
        let requests = decisions.into_iter().map(|(run, status)| {
            let (client, name) = (self.client.clone(), full_name(&run));
            let write = async move {
                let news = events::between(run.status.as_ref(), &status);
                (write::run_status(client, &run, status).await, news, run)
            };
            (name, write)
        });
        let mut decided = Vec::new();
        for (run, (written, news, before)) in self.paced(requests).await {
            match written {
                Ok(written) => {
                    self.note_written(before.status.as_ref(), written.clone());
                    decided.push((written, news));
                }
                Err(error) => tracing::warn!(run, %error, "what a probe decided was not written"),
            }
        }
        decided
    }

    /// Changes annotations.
    pub(super) async fn annotate(&mut self, writes: Vec<PodWrite>) {
        let requests = writes.into_iter().map(|write| {
            let client = self.client.clone();
            let (observer, pod) = (self.observer.clone(), write.pod.clone());
            let request = async move {
                let written = write::annotate(client, &write).await;
                observer.annotated(code(&written));
                written
            };
            (pod, request)
        });
        for (pod, written) in self.paced(requests).await {
            match written {
                Ok(mut written) => {
                    slim(&mut written);
                    self.state.pods.put(written);
                }
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                    tracing::info!(%pod, reason = status.message, "an annotation was not written");
                }
                Err(error) => tracing::warn!(%pod, %error, "an annotation was not written"),
            }
        }
    }

    /// Removes pods.
    pub(super) async fn remove(&mut self, mut removals: Vec<PodRemoval>) {
        removals.retain(|removal| self.state.removals.is_due(&removal.uid));
        let requests = removals.into_iter().map(|removal| {
            let client = self.client.clone();
            let pod = removal.pod.clone();
            (pod, async move { (write::remove(client, &removal).await, removal.uid) })
        });
        for (_, (answer, uid)) in self.paced(requests).await {
            self.state.removals.note(uid, Answer::of(answer));
        }
    }

    /// Makes requests about objects, as many as the pace allows; the next look goes on with the rest. Those that were
    /// answered in time, with the answers.
    async fn paced<K: Display, T>(
        &self,
        requests: impl Iterator<Item = (K, impl Future<Output = T>)>,
    ) -> Vec<(K, T)> {
        let (begin, leadership) = (tokio::time::Instant::now(), &self.leadership);
        let one = |(place, (object, request)): (u32, (K, _))| async move {
            sleep_until(begin + Duration::from_secs(1) * place / PACE).await;
            if !leadership.may_act() {
                return None;
            }
            let answer = timeout(leadership.patience(), request).await;
            if answer.is_err() {
                tracing::warn!(%object, "the API server did not answer");
            }
            Some((object, answer.ok()?))
        };
        let answers = stream::iter((0..PACE).zip(requests)).map(one).buffer_unordered(AT_ONCE);
        answers.filter_map(async |answer| answer).collect().await
    }

    /// Reads the report of a run that another leader has begun.
    pub(super) async fn resume_report(&mut self, run: &Run) {
        let read = write::read_report(self.client.clone(), run);
        let Some(written) = self.within_patience("the report of a run", read).await else { return };
        let lines = written.map_or_else(Vec::new, |packed| {
            report::unpack(&packed).unwrap_or_else(|error| {
                tracing::warn!(run = run.name_any(), %error, "its report cannot be read, and is begun anew");
                Vec::new()
            })
        });
        let probes = run.status.as_ref().map_or(&[][..], |status| &status.probes);
        let is_own = |name: &str| probes.iter().any(|probe| probe.name == name);
        let (uid, now) = (run.uid().unwrap_or_default(), Timestamp::now());
        self.state.memory.reports.resume(&uid, lines, is_own, now);
    }

    pub(super) async fn write_report(&mut self, run: &Run) {
        let uid = run.uid().unwrap_or_default();
        match self.state.memory.reports.packed(&uid) {
            Some(Ok(packed)) => {
                let written = async {
                    match write::report(self.client.clone(), run, packed).await {
                        Ok(()) => Ok(None),
                        Err(kube::Error::Api(status)) if status.code == 403 => {
                            Ok(Some(status.message.clone()))
                        }
                        Err(error) => Err(error),
                    }
                };
                let answer = self.within_patience("the report of a run", written).await;
                let (reports, now) = (&mut self.state.memory.reports, Timestamp::now());
                match answer {
                    Some(None) => reports.wrote(&uid, now),
                    Some(Some(why)) => reports.refuse(&uid, why, now),
                    None => {}
                }
            }
            Some(Err(error)) => {
                tracing::warn!(run = run.name_any(), %error, "its report cannot be packed");
            }
            None => {}
        }
    }

    pub(super) async fn write_run(&mut self, run: &Run, status: RunStatus) {
        let uid = run.uid().unwrap_or_default();
        let is_soon = self.state.written.get(&uid).is_some_and(|at| at.elapsed() < CADENCE);
        if is_soon && !is_urgent(run.status.as_ref(), &status) {
            return;
        }
        let before = run.status.clone();
        let news = events::between(before.as_ref(), &status);
        let written = write::run_status(self.client.clone(), run, status);
        if let Some(run) = self.within_patience("the status of a run", written).await {
            self.note_written(before.as_ref(), run.clone());
            self.publish(&run, news).await;
        }
    }

    /// Keeps a run as it was written.
    fn note_written(&mut self, before: Option<&RunStatus>, run: Run) {
        self.observer.wrote(before, &run, self.leadership.lever().is_some());
        let uid = run.uid().unwrap_or_default();
        self.state.written.retain(|_, at| at.elapsed() < CADENCE);
        self.state.written.insert(uid, Instant::now());
        self.state.runs.put(run);
    }

    /// Publishes what has happened to a run as events.
    pub(super) async fn publish(&self, run: &Run, news: Vec<Happening>) {
        let reference = run.object_ref(&());
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(self.identity.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        for event in news.into_iter().map(events::event) {
            let published = async { recorder.publish(&event, &reference).await };
            self.within_patience("an event", published).await;
        }
    }

    /// The answer to a request, if it comes in time and is a good one.
    pub(super) async fn within_patience<T>(
        &self,
        what: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Option<T> {
        if !self.leadership.may_act() {
            return None;
        }
        match timeout(self.leadership.patience(), request).await {
            Ok(Ok(answer)) => Some(answer),
            // It has changed meanwhile, or is gone; the next look knows.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 || status.code == 409 => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "{what} was not written");
                None
            }
            Err(_) => {
                tracing::warn!("{what} was not written: the API server did not answer");
                None
            }
        }
    }
}

/// What the API server has answered, as a code of HTTP; `None` where no answer came.
fn code<T>(answer: &kube::Result<T>) -> Option<u16> {
    match answer {
        Ok(_) => Some(200),
        Err(kube::Error::Api(status)) => Some(status.code),
        Err(_) => None,
    }
}

/// Whether a status says more than new counts.
fn is_urgent(before: Option<&RunStatus>, now: &RunStatus) -> bool {
    let Some(before) = before else { return true };
    let conditions = |status: &RunStatus| -> Vec<(String, String)> {
        let all = status.conditions.iter();
        all.map(|condition| (condition.status.clone(), condition.reason.clone())).collect()
    };
    let steps = |status: &RunStatus| -> Vec<_> {
        status.steps.iter().map(|step| (step.phase, step.picked)).collect()
    };
    // What another leader must know, or would have to see again.
    let probes = |status: &RunStatus| -> Vec<_> {
        let probes = status.probes.iter();
        probes.map(|one| (one.broke > 0, one.while_broken > 0, one.recovered)).collect()
    };
    before.phase != now.phase
        || before.reason != now.reason
        || probes(before) != probes(now)
        || before.spec != now.spec
        || steps(before) != steps(now)
        || conditions(before) != conditions(now)
        || before.targets.armed != now.targets.armed
        || before.targets.refused != now.targets.refused
}
