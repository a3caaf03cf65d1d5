//! Holds everything that decisions go by, at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_api::{
    PROTECTED_NAMESPACES,
    kinds::{Experiment, ExperimentSpec, Run, RunPhase},
};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::ResourceExt as _;

use crate::{
    agents::Agent, budgets::Budget, hosts::Answer, namespaces::Allowed, ownership::Between,
    pods::PodFacts, probes::Samples,
};

/// What there is in the cluster.
pub struct Observed {
    pub now: Timestamp,
    /// The namespace of the agents. Runs that are made there may name other namespaces.
    pub own: String,
    /// Why the whole cluster is halted, if it is.
    pub lever: Option<String>,
    /// Namespaces that allow faults, with what they allow.
    pub enabled: BTreeMap<String, Allowed>,
    /// By namespace.
    pub pods: BTreeMap<String, Vec<Arc<PodFacts>>>,
    pub between: Between,
    /// PodDisruptionBudgets by namespace.
    pub budgets: BTreeMap<String, Vec<Budget>>,
    /// What the API server said when pods were to be removed and were not, by their UID.
    pub unremoved: BTreeMap<String, String>,
    /// The labels of nodes.
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// By node.
    pub agents: BTreeMap<String, Agent>,
    pub experiments: Vec<Arc<Experiment>>,
    /// The oldest first.
    pub runs: Vec<Arc<Run>>,
    /// By namespace and name.
    pub services: BTreeMap<(String, String), Arc<Service>>,
    /// Of endpoints, by namespace and the name of their Service.
    pub slices: BTreeMap<(String, String), Vec<Arc<EndpointSlice>>>,
    /// The DNS names of peers, those that were answered.
    pub hosts: BTreeMap<String, Answer>,
    /// What probes have answered since the last look.
    pub samples: Samples,
}

impl Observed {
    /// The pods of a namespace.
    pub fn pods_of(&self, namespace: &str) -> impl Iterator<Item = &PodFacts> {
        self.pods.get(namespace).into_iter().flatten().map(Arc::as_ref)
    }

    /// The pods that runs of a namespace may break: those of this namespace, or all.
    pub fn within_reach(&self, namespace: &str) -> impl Iterator<Item = &PodFacts> {
        let is_in = move |name: &str| namespace == self.own || namespace == name;
        let pods = self.pods.iter().filter(move |(name, _)| is_in(name));
        pods.flat_map(|(_, pods)| pods).map(Arc::as_ref)
    }

    /// Whether a pod that runs of a namespace may break still has the text of a run that has ended or is gone.
    pub fn has_leftovers(&self, namespace: &str) -> bool {
        let is_live = |uid: &str| {
            let mut runs = self.runs.iter().filter(|run| run.metadata.uid.as_deref() == Some(uid));
            let phase = |run: &Arc<Run>| run.status.as_ref().map(|status| status.phase);
            runs.any(|run| phase(run) != Some(RunPhase::Finished))
        };
        let ours = self.within_reach(namespace).filter(|pod| pod.annotation.ours().is_some());
        ours.map(PodFacts::holder)
            .any(|holder| !holder.is_some_and(|holder| is_live(&holder.run_uid)))
    }

    /// The DNS names that the peers of runs have which are not over.
    pub fn wanted_hosts(&self) -> BTreeSet<String> {
        let mut hosts = BTreeSet::new();
        for run in &self.runs {
            let status = run.status.as_ref();
            if status.is_some_and(|status| status.phase == RunPhase::Finished) {
                continue;
            }
            let copied = status.and_then(|status| status.spec.as_ref());
            let spec = copied.or_else(|| self.asked_of(run));
            let peers = spec.iter().flat_map(|spec| spec.peers.values());
            let names = peers.flat_map(|peer| &peer.dns);
            hosts.extend(names.map(|name| name.trim_end_matches('.').to_owned()));
        }
        hosts
    }

    /// A cluster with nothing in it.
    #[cfg(test)]
    pub fn empty(now: Timestamp) -> Self {
        Self {
            now,
            own: "chaos-agent".to_owned(),
            lever: None,
            between: Between::default(),
            budgets: BTreeMap::new(),
            unremoved: BTreeMap::new(),
            enabled: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            agents: BTreeMap::new(),
            experiments: Vec::new(),
            runs: Vec::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            hosts: BTreeMap::new(),
            samples: Samples::new(),
        }
    }

    /// Whether no pod of a namespace is ever removed: that of the agents, `kube-system`, and what an agent protects.
    pub fn is_protected(&self, namespace: &str) -> bool {
        let mut agents = self.agents.values().flatten();
        namespace == self.own
            || PROTECTED_NAMESPACES.split(',').any(|name| name == namespace)
            || agents.any(|agent| agent.limits.protected_namespaces.contains(namespace))
    }

    /// What a run is to do, where it is known: its own experiment, or the one that it names.
    pub fn asked_of<'a>(&'a self, run: &'a Run) -> Option<&'a ExperimentSpec> {
        let Some(name) = &run.spec.experiment else { return run.spec.inline.as_ref() };
        let namespace = run.namespace().unwrap_or_default();
        self.experiment(&namespace, name).map(|experiment| &experiment.spec)
    }

    /// An experiment by its name.
    pub fn experiment(&self, namespace: &str, name: &str) -> Option<&Experiment> {
        let mut all = self.experiments.iter().map(Arc::as_ref);
        all.find(|one| one.namespace().as_deref() == Some(namespace) && one.name_any() == name)
    }
}
