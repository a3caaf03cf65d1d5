//! Looks, decides and writes, as long as this controller leads.

mod stores;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::{ControllerObserver, Unobserved, kinds::Run};
use chaos_probe::Asker;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt as _};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

pub use self::stores::Stores;
use self::stores::{between, by_name, by_service};
use crate::{
    agents::Agents,
    asking::{self, Questions},
    budgets::Budget,
    fresh::Fresh,
    grafana::Grafana,
    hosts::Hosts,
    lease::Leadership,
    names::full_name,
    namespaces::Allowed,
    observed::Observed,
    pods::PodFacts,
    progress::Memory,
    reconcile::{Actions, decide},
    removals::Removals,
    seen::Seen,
};

/// Without any change, time passes: steps begin and end.
const TICK: Duration = Duration::from_secs(1);

/// Changes that come together are looked at together.
const PAUSE: Duration = Duration::from_millis(100);

/// A look visits runs for at most this long. Those that it did not reach come first in the next one.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

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
    /// Annotations that are written in one second at most.
    pub pace: u32,
    /// Whoever measures the loop.
    pub observer: Arc<dyn ControllerObserver>,
    /// Who is told of runs, beside the loop.
    grafana: Option<Grafana>,
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
        pace: u32,
    ) -> Self {
        let (observer, state) = (Arc::new(Unobserved), State::default());
        Self {
            client,
            stores,
            leadership,
            namespace,
            identity,
            asker,
            pace,
            observer,
            grafana: None,
            state,
        }
    }

    /// The same, measured by somebody.
    pub fn observed_by(self, observer: Arc<dyn ControllerObserver>) -> Self {
        Self { observer, ..self }
    }

    /// The same, telling a Grafana.
    pub fn telling(self, grafana: Option<Grafana>) -> Self {
        Self { grafana, ..self }
    }

    /// Works until `shutdown` says so, or its sender is gone.
    pub async fn run(mut self, changed: &Arc<Notify>, mut shutdown: watch::Receiver<bool>) {
        let mut stopped = pin!(async move { drop(shutdown.wait_for(|stop| *stop).await) });
        tokio::select! {
            () = &mut stopped => return,
            () = self.stores.ready() => self.observer.synced(),
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
        self.keep_lease().await;
        if !self.leadership.may_act() {
            // Whoever leads meanwhile writes what is not known here.
            self.state = State::default();
            self.asker.forget_all();
            if let Some(grafana) = &mut self.grafana {
                grafana.forget();
            }
            self.observer.looked(None);
            return;
        }
        let began = Instant::now();
        let observed = self.observe(changed);
        let seen = began.elapsed();
        let has_time = || began.elapsed() - seen < LONGEST_LOOK;
        let mut actions = decide(&observed, &mut self.state.memory, has_time);
        let decided = began.elapsed() - seen;
        if actions.is_cut {
            changed.notify_one();
        }
        self.leadership.count(actions.armed_pods);
        if let Some(grafana) = &mut self.grafana {
            grafana.look(&observed.runs, observed.now);
        }
        self.observer.looked(Some(observed.runs.clone()));
        let questions = std::mem::take(&mut actions.ask);
        let asker = asking::Observed { asker: self.asker.clone(), observer: self.observer.clone() };
        self.state.questions.ask(questions, &asker, changed);
        self.act(actions).await;
        let acted = began.elapsed() - seen - decided;
        let [seen_us, decided_us, acted_us] = [seen, decided, acted].map(|time| time.as_micros());
        tracing::debug!(seen_us, decided_us, acted_us, "a look");
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

    /// Renews the Lease if it is time, also between the phases of a look: each of them may take a second and longer.
    async fn keep_lease(&mut self) {
        if let Err(error) = self.leadership.tend().await {
            tracing::warn!(%error, "the Lease was not renewed");
        }
    }

    /// Tells agents which runs end, says what probes have decided, and takes away; then says what will be done, then does
    /// what was said before.
    async fn act(&mut self, actions: Actions) {
        let Actions {
            ending,
            decisions,
            ask: _,
            is_cut: _,
            clear,
            resume,
            reports,
            runs,
            write,
            remove,
            experiments,
            forget,
            armed_pods: _,
        } = actions;
        // What a hand has ended, or the lever, does not wait until others are written.
        let decided: BTreeSet<String> = decisions.iter().map(|(run, _)| full_name(run)).collect();
        if !decided.is_empty() {
            self.tell(ending.difference(&decided).cloned().collect()).await;
        }
        let decided = self.write_decisions(decisions).await;
        self.tell(ending).await;
        self.annotate(clear).await;
        self.publish(decided).await;
        self.resume_reports(resume).await;
        // Before the status says that a run has ended: whoever leads then does not look at it again.
        let unreported = self.write_reports(reports).await;
        self.keep_lease().await;
        self.write_runs(runs, &unreported).await;
        self.keep_lease().await;
        self.annotate(write).await;
        self.keep_lease().await;
        self.remove(remove).await;
        self.write_experiments(experiments).await;
        self.delete_runs(forget).await;
    }
}
