//! Writes what was decided, each request as long as this controller leads and no longer than it is patient.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::kinds::{Experiment, ExperimentStatus, Run, RunStatus};
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

/// So many requests at once.
pub(super) const AT_ONCE: usize = 64;

/// What is only counted is written this often.
const CADENCE: Duration = Duration::from_secs(3);

/// For so long annotations are begun to be written in one look, where the API server answers slowly: ends of runs, and
/// the Lease, do not wait for the rest.
const LONGEST_ANNOTATING: Duration = Duration::from_secs(2);

/// For so long it is known when a status was written.
const MEMORY: Duration = Duration::from_secs(60);

/// For so long reports are packed in one look.
const PACKING: Duration = Duration::from_millis(250);

impl Controller {
    /// So many other objects of a kind are written in one look.
    fn most(&self) -> usize {
        (self.pace as usize / 2).max(1)
    }

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
            if let Some(written) = accepted(&run, "the status of a run", written) {
                self.note_written(before.status.as_ref(), written.clone());
                decided.push((written, news));
            }
        }
        decided
    }

    /// Writes other statuses of runs, and publishes what has happened: first those that say more than new counts, then
    /// those that were written longest ago. Those whose reports are to be written before wait.
    pub(super) async fn write_runs(
        &mut self,
        mut runs: Vec<(Arc<Run>, RunStatus)>,
        unreported: &BTreeSet<String>,
    ) {
        let written = &self.state.written;
        let at = |run: &Run| written.get(&run.uid().unwrap_or_default()).copied();
        let is_urgent =
            |run: &Run, status: &RunStatus| says_more_than_counts(run.status.as_ref(), status);
        runs.retain(|(run, status)| {
            let is_soon = at(run).is_some_and(|at| at.elapsed() < CADENCE);
            !unreported.contains(&run.uid().unwrap_or_default())
                && (!is_soon || is_urgent(run, status))
        });
        runs.sort_by_cached_key(|(run, status)| (!is_urgent(run, status), at(run)));
        runs.truncate(self.most());
        let news = self.write_decisions(runs).await;
        self.publish(news).await;
    }

    /// Changes annotations; the next look goes on with the rest.
    pub(super) async fn annotate(&mut self, writes: Vec<PodWrite>) {
        let begin = Instant::now();
        let requests = writes.into_iter().map(|write| {
            let client = self.client.clone();
            let (observer, pod) = (self.observer.clone(), write.pod.clone());
            let request = async move {
                if begin.elapsed() > LONGEST_ANNOTATING {
                    return None;
                }
                let written = write::annotate(client, &write).await;
                observer.annotated(code(&written));
                Some(written)
            };
            (pod, request)
        });
        for (pod, written) in self.paced(requests).await {
            let Some(written) = written else { continue };
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
        // As many as fit into a second: then the Lease is looked after.
        let pace = self.pace;
        let one = |(place, (object, request)): (u32, (K, _))| async move {
            sleep_until(begin + Duration::from_secs(1) * place / pace).await;
            if !leadership.may_act() {
                return None;
            }
            let answer = timeout(leadership.patience(), request).await;
            if answer.is_err() {
                tracing::warn!(%object, "the API server did not answer");
            }
            Some((object, answer.ok()?))
        };
        let answers = stream::iter((0..pace).zip(requests)).map(one).buffer_unordered(AT_ONCE);
        answers.filter_map(async |answer| answer).collect().await
    }

    /// Reads the reports of runs that another leader has begun.
    pub(super) async fn resume_reports(&mut self, runs: Vec<Arc<Run>>) {
        let requests = runs.into_iter().take(self.most()).map(|run| {
            let client = self.client.clone();
            (full_name(&run), async move { (write::read_report(client, &run).await, run) })
        });
        for (name, (read, run)) in self.paced(requests).await {
            let Some(written) = accepted(&name, "the report of a run", read) else { continue };
            let lines = written.map_or_else(Vec::new, |packed| {
                report::unpack(&packed).unwrap_or_else(|error| {
                    tracing::warn!(run = name, %error, "its report cannot be read, and is begun anew");
                    Vec::new()
                })
            });
            let probes = run.status.as_ref().map_or(&[][..], |status| &status.probes);
            let is_own = |name: &str| probes.iter().any(|probe| probe.name == name);
            let (uid, now) = (run.uid().unwrap_or_default(), Timestamp::now());
            self.state.memory.reports.resume(&uid, lines, is_own, now);
        }
    }

    /// Writes the reports of runs. Those that are still to be written, by the UIDs of their runs.
    pub(super) async fn write_reports(&mut self, runs: Vec<Arc<Run>>) -> BTreeSet<String> {
        let (begin, mut packed, mut left) = (Instant::now(), Vec::new(), BTreeSet::new());
        for run in runs {
            let uid = run.uid().unwrap_or_default();
            if !packed.is_empty() && (begin.elapsed() > PACKING || packed.len() >= self.most()) {
                left.insert(uid);
                continue;
            }
            match self.state.memory.reports.packed(&uid) {
                Some(Ok(report)) => packed.push((run, uid, report)),
                Some(Err(error)) => {
                    tracing::warn!(run = run.name_any(), %error, "its report cannot be packed");
                }
                // What another leader has written is not read yet.
                None => {
                    let why = "what was written of it before cannot be read".to_owned();
                    if self.state.memory.reports.fail(&uid, why, Timestamp::now()) {
                        left.insert(uid);
                    }
                }
            }
        }
        let mut unanswered: BTreeSet<String> =
            packed.iter().map(|(_, uid, _)| uid.clone()).collect();
        let requests = packed.into_iter().map(|(run, uid, report)| {
            let client = self.client.clone();
            (full_name(&run), async move { (write::report(client, &run, report).await, uid) })
        });
        for (name, (written, uid)) in self.paced(requests).await {
            let (reports, now) = (&mut self.state.memory.reports, Timestamp::now());
            unanswered.remove(&uid);
            match written {
                Ok(()) => reports.wrote(&uid, now),
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    reports.refuse(&uid, status.message, now);
                }
                Err(error) => {
                    if reports.fail(&uid, error.to_string(), now) {
                        left.insert(uid);
                    }
                    accepted::<()>(&name, "the report of a run", Err(error));
                }
            }
        }
        let reports = &mut self.state.memory.reports;
        let is_tried_again = |uid: &String| {
            reports.fail(uid, "the API server did not answer".to_owned(), Timestamp::now())
        };
        left.extend(unanswered.into_iter().filter(is_tried_again));
        left
    }

    /// Writes the statuses of experiments.
    pub(super) async fn write_experiments(
        &self,
        experiments: Vec<(Arc<Experiment>, ExperimentStatus)>,
    ) {
        let requests = experiments.into_iter().take(self.most()).map(|(experiment, status)| {
            let (client, name) = (self.client.clone(), experiment.name_any());
            let write = async move { write::experiment_status(client, &experiment, status).await };
            (name, write)
        });
        for (name, written) in self.paced(requests).await {
            accepted(&name, "the status of an experiment", written);
        }
    }

    /// Deletes runs that are not kept.
    pub(super) async fn delete_runs(&self, runs: Vec<Arc<Run>>) {
        let requests = runs.into_iter().take(AT_ONCE).map(|run| {
            let client = self.client.clone();
            (full_name(&run), async move { write::delete_run(client, &run).await })
        });
        for (name, deleted) in self.paced(requests).await {
            accepted(&name, "the end of a run's retention", deleted);
        }
    }

    /// Keeps a run as it was written.
    fn note_written(&mut self, before: Option<&RunStatus>, mut run: Run) {
        self.observer.wrote(before, &run, self.leadership.lever().is_some());
        run.metadata.managed_fields = None;
        let uid = run.uid().unwrap_or_default();
        self.state.written.retain(|_, at| at.elapsed() < MEMORY);
        self.state.written.insert(uid, Instant::now());
        self.state.runs.put(run);
    }

    /// Publishes what has happened to runs as events.
    pub(super) async fn publish(&self, news: Vec<(Run, Vec<Happening>)>) {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(self.identity.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let requests = news.into_iter().map(|(run, news)| {
            let (recorder, name) = (recorder.clone(), full_name(&run));
            let publish = async move {
                let reference = run.object_ref(&());
                // In their order.
                for event in news.into_iter().map(events::event) {
                    recorder.publish(&event, &reference).await?;
                }
                kube::Result::<()>::Ok(())
            };
            (name, publish)
        });
        for (run, published) in self.paced(requests).await {
            accepted(&run, "an event", published);
        }
    }
}

/// The answer of the API server, if it is a good one.
fn accepted<T>(object: &str, what: &str, answer: kube::Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        // It has changed meanwhile, or is gone; the next look knows.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => None,
        Err(error) => {
            tracing::warn!(object, %error, "{what} was not written");
            None
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
fn says_more_than_counts(before: Option<&RunStatus>, now: &RunStatus) -> bool {
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
