//! Holds everything that decisions go by, at one moment.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::{
    AllowedVerbs,
    kinds::{Experiment, Run, RunPhase},
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{agents::Agent, pods::PodFacts};

/// What there is in the cluster.
pub struct Observed {
    pub now: Timestamp,
    /// Why the whole cluster is halted, if it is.
    pub lever: Option<String>,
    /// Namespaces that allow faults, with the verbs that they allow.
    pub enabled: BTreeMap<String, AllowedVerbs>,
    /// By namespace.
    pub pods: BTreeMap<String, Vec<PodFacts>>,
    /// The labels of nodes.
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// By node.
    pub agents: BTreeMap<String, Agent>,
    pub experiments: Vec<Arc<Experiment>>,
    /// The oldest first.
    pub runs: Vec<Arc<Run>>,
}

impl Observed {
    /// The pods of a namespace.
    pub fn pods_of(&self, namespace: &str) -> &[PodFacts] {
        self.pods.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Whether a pod of a namespace still has the text of a run that has ended or is gone.
    pub fn has_leftovers(&self, namespace: &str) -> bool {
        let is_live = |uid: &str| {
            let mut runs = self.runs.iter().filter(|run| run.metadata.uid.as_deref() == Some(uid));
            let phase = |run: &Arc<Run>| run.status.as_ref().map(|status| status.phase);
            runs.any(|run| phase(run) != Some(RunPhase::Finished))
        };
        let ours = self.pods_of(namespace).iter().filter(|pod| pod.annotation.ours().is_some());
        ours.map(PodFacts::holder)
            .any(|holder| !holder.is_some_and(|holder| is_live(&holder.run_uid)))
    }

    /// An experiment by its name.
    pub fn experiment(&self, namespace: &str, name: &str) -> Option<&Experiment> {
        let mut all = self.experiments.iter().map(Arc::as_ref);
        all.find(|one| one.namespace().as_deref() == Some(namespace) && one.name_any() == name)
    }
}
