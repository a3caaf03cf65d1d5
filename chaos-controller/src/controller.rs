//! Looks, decides and writes, as long as this controller leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::kinds::{Experiment, Run, RunStatus};
use chaos_probe::Asker;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    batch::v1::Job,
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Client, Resource as _, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        events::{Recorder, Reporter},
        reflector::Store,
    },
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, sleep_until, timeout},
};

use crate::{
    agents::Agents,
    asking::Questions,
    budgets::Budget,
    events::{self, Happening},
    fresh::Fresh,
    hosts::Hosts,
    lease::Leadership,
    names::FIELD_MANAGER,
    namespaces::Allowed,
    observed::Observed,
    ownership::ControlledBy,
    pods::{PodFacts, slim},
    progress::Memory,
    reconcile::{Actions, PodWrite, decide},
    removal::PodRemoval,
    removals::{Answer, Removals},
    report,
    seen::Seen,
    write,
};

/// Without any change, time passes: steps begin and end.
const TICK: Duration = Duration::from_secs(1);

/// Changes that come together are looked at together.
const PAUSE: Duration = Duration::from_millis(100);

/// Annotations that are written in one second, and between two renewals of the Lease.
const PACE: u32 = 300;

/// Of these so many at once.
const AT_ONCE: usize = 64;

/// What is only counted is written this often.
const CADENCE: Duration = Duration::from_secs(3);

/// The label of a slice of endpoints that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What the watches keep.
pub struct Stores {
    pub pods: Store<Pod>,
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    pub nodes: Store<PartialObjectMeta<Node>>,
    pub replica_sets: Store<PartialObjectMeta<ReplicaSet>>,
    pub jobs: Store<PartialObjectMeta<Job>>,
    pub budgets: Store<PodDisruptionBudget>,
    pub experiments: Store<Experiment>,
    pub runs: Store<Run>,
    pub services: Store<Service>,
    pub slices: Store<EndpointSlice>,
}

/// The loop that works.
pub struct Controller {
    pub client: Client,
    pub stores: Stores,
    pub leadership: Leadership,
    /// Where the agents are.
    pub namespace: String,
    pub identity: String,
    /// Asks the questions of probes.
    pub asker: Asker,
    state: State,
}

/// What is kept from one look to the next. Nothing of it is needed by another leader.
#[derive(Default)]
struct State {
    memory: Memory,
    agents: Agents,
    pods: Fresh<Pod>,
    seen: Seen,
    removals: Removals,
    runs: Fresh<Run>,
    hosts: Hosts,
    questions: Questions,
    /// When the status of a run was written last.
    written: BTreeMap<String, Instant>,
}

impl Controller {
    pub fn new(
        client: Client,
        stores: Stores,
        leadership: Leadership,
        namespace: String,
        identity: String,
        asker: Asker,
    ) -> Self {
        Self { client, stores, leadership, namespace, identity, asker, state: State::default() }
    }

    /// Works until `shutdown` says so, or its sender is gone.
    pub async fn run(mut self, changed: &Arc<Notify>, mut shutdown: watch::Receiver<bool>) {
        let mut stopped = pin!(async move { drop(shutdown.wait_for(|stop| *stop).await) });
        tokio::select! {
            () = &mut stopped => return,
            () = self.stores.ready() => {}
        }
        loop {
            let work = async {
                tokio::select! {
                    () = changed.notified() => sleep(PAUSE).await,
                    () = sleep(TICK) => {}
                }
                self.look(changed).await;
            };
            tokio::select! {
                () = &mut stopped => break,
                () = work => {}
            }
        }
        if let Err(error) = self.leadership.release().await {
            tracing::warn!(%error, "another controller has to wait until the Lease has stood still");
        }
    }

    async fn look(&mut self, changed: &Arc<Notify>) {
        if let Err(error) = self.leadership.tend().await {
            tracing::warn!(%error, "the Lease was not renewed");
        }
        if !self.leadership.may_act() {
            // Whoever leads meanwhile writes what is not known here.
            self.state = State::default();
            self.asker.forget_all();
            return;
        }
        let observed = self.observe(changed);
        let mut actions = decide(&observed, &mut self.state.memory);
        let questions = std::mem::take(&mut actions.ask);
        self.state.questions.ask(questions, &self.asker, changed);
        self.act(actions).await;
    }

    fn observe(&mut self, changed: &Arc<Notify>) -> Observed {
        let Self { stores, state, namespace, .. } = self;
        let mut facts = state.seen.facts(&state.pods.newest(stores.pods.state()));
        state.removals.apply(&mut facts);
        let agents = state.agents.by_node(facts.iter().map(Arc::as_ref), namespace);
        let mut pods: BTreeMap<String, Vec<Arc<PodFacts>>> = BTreeMap::new();
        for pod in facts {
            pods.entry(pod.name.namespace.clone()).or_default().push(pod);
        }
        let mut budgets: BTreeMap<String, Vec<Budget>> = BTreeMap::new();
        for budget in stores.budgets.state().iter().map(Budget::of) {
            budgets.entry(budget.namespace.clone()).or_default().push(budget);
        }
        let mut runs = state.runs.newest(stores.runs.state());
        runs.sort_by_key(|run| (run.creation_timestamp().map(|time| time.0), run.uid()));
        let experiments = stores.experiments.state();
        let mut observed = Observed {
            now: Timestamp::now(),
            own: namespace.clone(),
            lever: self.leadership.lever().map(str::to_owned),
            enabled: stores
                .namespaces
                .state()
                .iter()
                .map(|one| (one.name_any(), Allowed::read(one)))
                .collect(),
            pods,
            budgets,
            unremoved: state.removals.refusals(),
            between: between(&stores.replica_sets).chain(between(&stores.jobs)).collect(),
            nodes: stores
                .nodes
                .state()
                .iter()
                .map(|node| (node.name_any(), node.labels().clone()))
                .collect(),
            agents,
            experiments,
            runs,
            services: by_name(stores.services.state()),
            slices: by_service(stores.slices.state()),
            hosts: BTreeMap::new(),
            samples: state.questions.answers(),
        };
        observed.hosts = state.hosts.look(&observed.wanted_hosts(), changed);
        observed
    }

    /// Tells agents which runs end, says what probes have decided, and takes away; then says what will be done, then does
    /// what was said before.
    async fn act(&mut self, actions: Actions) {
        let Actions {
            ending,
            decisions,
            ask: _,
            clear,
            resume,
            reports,
            runs,
            write,
            remove,
            experiments,
            forget,
        } = actions;
        // What a hand has ended, or the lever, does not wait until others are written.
        let decided: BTreeSet<String> = decisions.iter().map(|(run, _)| full_name(run)).collect();
        if !decided.is_empty() {
            self.tell(ending.difference(&decided).cloned().collect()).await;
        }
        let decided = self.write_decisions(decisions).await;
        self.tell(ending).await;
        self.annotate(clear).await;
        for (run, news) in decided {
            self.publish(&run, news).await;
        }
        for run in resume {
            self.resume_report(&run).await;
        }
        // Before the status says that a run has ended: whoever leads then does not look at it again.
        for run in reports {
            self.write_report(&run).await;
        }
        for (run, status) in runs {
            self.write_run(&run, status).await;
        }
        self.annotate(write).await;
        self.remove(remove).await;
        for (experiment, status) in experiments {
            let written = write::experiment_status(self.client.clone(), &experiment, status);
            self.within_patience("the status of an experiment", written).await;
        }
        for run in forget.into_iter().take(AT_ONCE) {
            let deleted = write::delete_run(self.client.clone(), &run);
            self.within_patience("the end of a run's retention", deleted).await;
        }
    }

    async fn tell(&mut self, ending: BTreeSet<String>) {
        if let Err(error) = self.leadership.tell(ending).await {
            tracing::warn!(%error, "agents were not told which runs end");
        }
    }

    /// Writes what probes have decided about runs, of all of them together. The runs, with what is to be published of them.
    async fn write_decisions(
        &mut self,
        decisions: Vec<(Arc<Run>, RunStatus)>,
    ) -> Vec<(Run, Vec<Happening>)> {
        let requests = decisions.into_iter().map(|(run, status)| {
            let (client, name) = (self.client.clone(), full_name(&run));
            let write = async move {
                let news = events::between(run.status.as_ref(), &status);
                (write::run_status(client, &run, status).await, news)
            };
            (name, write)
        });
        let mut decided = Vec::new();
        for (run, (written, news)) in self.paced(requests).await {
            match written {
                Ok(written) => {
                    self.note_written(written.clone());
                    decided.push((written, news));
                }
                Err(error) => tracing::warn!(run, %error, "what a probe decided was not written"),
            }
        }
        decided
    }

    /// Changes annotations.
    async fn annotate(&mut self, writes: Vec<PodWrite>) {
        let requests = writes.into_iter().map(|write| {
            let client = self.client.clone();
            (write.pod.clone(), async move { write::annotate(client, &write).await })
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
    async fn remove(&mut self, mut removals: Vec<PodRemoval>) {
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
    async fn resume_report(&mut self, run: &Run) {
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

    async fn write_report(&mut self, run: &Run) {
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

    async fn write_run(&mut self, run: &Run, status: RunStatus) {
        let uid = run.uid().unwrap_or_default();
        let is_soon = self.state.written.get(&uid).is_some_and(|at| at.elapsed() < CADENCE);
        if is_soon && !is_urgent(run.status.as_ref(), &status) {
            return;
        }
        let news = events::between(run.status.as_ref(), &status);
        let written = write::run_status(self.client.clone(), run, status);
        if let Some(run) = self.within_patience("the status of a run", written).await {
            self.note_written(run.clone());
            self.publish(&run, news).await;
        }
    }

    /// Keeps a run as it was written.
    fn note_written(&mut self, run: Run) {
        let uid = run.uid().unwrap_or_default();
        self.state.written.retain(|_, at| at.elapsed() < CADENCE);
        self.state.written.insert(uid, Instant::now());
        self.state.runs.put(run);
    }

    /// Publishes what has happened to a run as events.
    async fn publish(&self, run: &Run, news: Vec<Happening>) {
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
    async fn within_patience<T>(
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

/// A run as agents are told of it.
fn full_name(run: &Run) -> String {
    format!("{}/{}", run.namespace().unwrap_or_default(), run.name_any())
}

/// By namespace and name.
fn by_name(services: Vec<Arc<Service>>) -> BTreeMap<(String, String), Arc<Service>> {
    let key = |one: &Service| (one.namespace().unwrap_or_default(), one.name_any());
    services.into_iter().map(|service| (key(&service), service)).collect()
}

/// By namespace and the name of the Service whose endpoints they are.
fn by_service(
    slices: Vec<Arc<EndpointSlice>>,
) -> BTreeMap<(String, String), Vec<Arc<EndpointSlice>>> {
    let mut by_service: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in slices {
        if let Some(service) = slice.labels().get(SERVICE_NAME) {
            let key = (slice.namespace().unwrap_or_default(), service.clone());
            by_service.entry(key).or_default().push(slice);
        }
    }
    by_service
}

/// What controls the objects of a store.
fn between<K: Clone>(
    store: &Store<PartialObjectMeta<K>>,
) -> impl Iterator<Item = (String, ControlledBy)>
where
    PartialObjectMeta<K>: kube::Resource<DynamicType = ()> + 'static,
{
    let of = |object: Arc<PartialObjectMeta<K>>| {
        Some((object.metadata.uid.clone()?, ControlledBy::of(&object.metadata)?))
    };
    store.state().into_iter().filter_map(of)
}

impl Stores {
    /// Waits until everything was listed once.
    async fn ready(&self) {
        let Self {
            pods,
            namespaces,
            nodes,
            replica_sets,
            jobs,
            budgets,
            experiments,
            runs,
            services,
            slices,
        } = self;
        // An error means that nobody fills a store any more, which ends the program elsewhere.
        let _ = tokio::join!(
            pods.wait_until_ready(),
            namespaces.wait_until_ready(),
            nodes.wait_until_ready(),
            replica_sets.wait_until_ready(),
            jobs.wait_until_ready(),
            budgets.wait_until_ready(),
            experiments.wait_until_ready(),
            runs.wait_until_ready(),
            services.wait_until_ready(),
            slices.wait_until_ready(),
        );
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
        {
            let probes = status.probes.iter();
            probes.map(|one| (one.broke > 0, one.while_broken > 0, one.recovered)).collect()
        }
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
