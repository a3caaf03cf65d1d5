//! Plays a cluster by maps: pods, agents, runs, and a clock that the test sets.

mod agents;
mod pods;
mod probes;
mod runs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_api::kinds::{Experiment, Run};
use chaos_probe::Outcome;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use self::pods::controlled;
use super::super::{Actions, decide};
use crate::{
    agents::Agents,
    namespaces::Allowed,
    observed::Observed,
    ownership::ControlledBy,
    pods::PodFacts,
    probes::Samples,
    progress::Memory,
    report::{Entry, unpack},
};

/// How the agent of a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Fit,
    Missing,
    /// It says nothing of its kernel.
    Old,
    Silent,
    /// Its kernel can do nothing.
    Weak,
    /// It allows one verb, which is not that of the tests.
    Strict,
}

/// A pod as the API server has it.
#[derive(Debug, Clone)]
struct PodState {
    namespace: String,
    uid: String,
    node: String,
    /// What controls it: API version, kind and name; the UID is the name.
    owner: Option<[&'static str; 3]>,
    created: Timestamp,
    ready: bool,
    labels: BTreeMap<String, String>,
    /// Text and field manager.
    faults: Option<(String, String)>,
    status: Option<Value>,
}

/// The cluster.
pub struct World {
    pub now: Timestamp,
    pub enabled: bool,
    /// The annotations of all namespaces.
    pub annotations: BTreeMap<String, String>,
    /// Of one PodDisruptionBudget in each namespace, about pods of `app=web`: how many must stay.
    pub min_available: Option<usize>,
    pub lever: Option<String>,
    /// Whether agents do what they are told.
    pub answers: bool,
    /// For so many runs there is time in a look, beside those that have a turn in any case.
    pub turns: usize,
    /// Annotations that were written.
    pub writes: usize,
    /// Pods that were removed, in this order.
    pub removed: Vec<String>,
    /// What is between pods and workloads: the name of the one and what controls it.
    pub between: Vec<(&'static str, [&'static str; 3])>,
    pods: BTreeMap<String, PodState>,
    agents: BTreeMap<String, Agent>,
    experiments: BTreeMap<String, Arc<Experiment>>,
    runs: BTreeMap<String, Arc<Run>>,
    /// By namespace and name.
    pub services: BTreeMap<(String, String), Arc<Service>>,
    /// What the service of the probes answers, by their names; those that are missing pass.
    pub service: BTreeMap<String, Outcome>,
    /// Probes that are asked and never answered.
    pub silent: BTreeSet<String>,
    /// Whether it has much to say.
    pub answer_at_length: bool,
    /// When each probe of each run was asked last.
    asked: BTreeMap<(String, String), Timestamp>,
    /// Those that are asked when nothing is broken any more.
    after: BTreeSet<(String, String)>,
    /// What was asked, in this order, with the baselines.
    pub questions: Vec<(String, Option<f64>)>,
    samples: Samples,
    memory: Memory,
    /// Somebody else has objects of the names of reports.
    pub refuses_reports: bool,
    /// By the UIDs of runs.
    reports: BTreeMap<String, Vec<Entry>>,
    made: u32,
}

/// Those that allow faults.
const NAMESPACES: [&str; 2] = ["bank", "shop"];

/// An experiment of one step.
pub fn one_step(pick: &str, lasting: &str) -> Value {
    let pick = pick.parse::<u32>().map_or_else(|_| json!(pick), |number| json!(number));
    json!({
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": pick } },
        "steps": [{ "name": "slow", "fault": { "target": "web", "do": "drop egress tcp", "for": lasting } }],
    })
}

impl World {
    /// So many pods on each node.
    pub fn new(nodes: &[(&str, usize)]) -> Self {
        let mut world = Self {
            now: "2026-11-28T10:00:00Z".parse().unwrap(),
            enabled: true,
            annotations: BTreeMap::new(),
            min_available: None,
            lever: None,
            answers: true,
            turns: usize::MAX,
            writes: 0,
            removed: Vec::new(),
            between: Vec::new(),
            pods: BTreeMap::new(),
            agents: BTreeMap::new(),
            experiments: BTreeMap::new(),
            runs: BTreeMap::new(),
            services: BTreeMap::new(),
            service: BTreeMap::new(),
            silent: BTreeSet::new(),
            answer_at_length: false,
            asked: BTreeMap::new(),
            after: BTreeSet::new(),
            questions: Vec::new(),
            samples: Samples::new(),
            memory: Memory::default(),
            refuses_reports: false,
            reports: BTreeMap::new(),
            made: 0,
        };
        for (node, pods) in nodes {
            world.agent(node, Agent::Fit);
            for number in 0..*pods {
                world.add(&format!("{node}-{number}"), node);
            }
        }
        world
    }

    /// Another controller leads, which has seen nothing.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
        self.samples.clear();
    }

    /// What is to be done now.
    pub fn look(&mut self) -> Actions {
        let mut facts: Vec<Arc<PodFacts>> = self
            .pods
            .iter()
            .map(|(name, pod)| Arc::new(PodFacts::of(&Arc::new(pod.object(name)))))
            .collect();
        let agents: Vec<PodFacts> =
            self.agents.iter().filter_map(|(node, agent)| agent.pod(node)).collect();
        let agents = Agents::default().by_node(&agents, "chaos-agent");
        facts.sort_by(|one, other| one.uid.cmp(&other.uid));
        let mut pods: BTreeMap<String, Vec<Arc<PodFacts>>> = BTreeMap::new();
        for pod in facts {
            pods.entry(pod.name.namespace.clone()).or_default().push(pod);
        }
        let metadata = json!({ "metadata": { "annotations": self.annotations } });
        let allowed = Allowed::read(&serde_json::from_value(metadata).unwrap());
        let mut runs: Vec<Arc<Run>> = self.runs.values().cloned().collect();
        runs.sort_by_key(|run| run.metadata.uid.clone());
        let observed = Observed {
            now: self.now,
            lever: self.lever.clone(),
            own: "chaos-agent".to_owned(),
            enabled: NAMESPACES
                .into_iter()
                .filter(|_| self.enabled)
                .map(|namespace| (namespace.to_owned(), allowed.clone()))
                .collect(),
            budgets: NAMESPACES.map(|name| (name.to_owned(), self.budgets(name))).into(),
            pods,
            between: self
                .between
                .iter()
                .filter_map(|(name, owner)| {
                    Some(((*name).to_owned(), ControlledBy::of(&controlled(owner))?))
                })
                .collect(),
            unremoved: BTreeMap::new(),
            nodes: self.agents.keys().map(|node| (node.clone(), BTreeMap::new())).collect(),
            agents,
            experiments: self.experiments.values().cloned().collect(),
            runs,
            services: self.services.clone(),
            samples: std::mem::take(&mut self.samples),
            ..Observed::empty(self.now)
        };
        let mut left = self.turns;
        decide(&observed, &mut self.memory, || {
            let has_time = left > 0;
            left = left.saturating_sub(1);
            has_time
        })
    }

    pub fn apply_statuses(&mut self, actions: Actions) {
        for (run, status) in actions.decisions.into_iter().chain(actions.runs) {
            let name = run.metadata.name.clone().unwrap();
            if let Some(there) =
                self.runs.get_mut(&name).filter(|there| there.metadata.uid == run.metadata.uid)
            {
                Arc::make_mut(there).status = Some(status);
            }
        }
        for (experiment, status) in actions.experiments {
            let name = experiment.metadata.name.clone().unwrap();
            let there = self.experiments.get_mut(&name).unwrap();
            Arc::make_mut(there).status = Some(status);
        }
    }

    /// One look, with everything done that it asks for, and what agents make of it.
    pub fn step(&mut self) {
        let actions = self.look();
        self.ask(&actions.ask);
        for write in &actions.clear {
            self.write(write);
        }
        for write in &actions.write {
            self.write(write);
        }
        for removal in &actions.remove {
            self.remove_by(removal);
        }
        for run in &actions.forget {
            self.runs.remove(run.metadata.name.as_deref().unwrap());
        }
        for run in &actions.resume {
            let uid = run.metadata.uid.as_deref().unwrap();
            let written = self.reports.get(uid).cloned().unwrap_or_default();
            let probes = &run.status.as_ref().unwrap().probes;
            let is_own = |name: &str| probes.iter().any(|probe| probe.name == name);
            self.memory.reports.resume(uid, written, is_own, self.now);
        }
        for run in &actions.reports {
            let uid = run.metadata.uid.as_deref().unwrap();
            if self.refuses_reports {
                self.memory.reports.refuse(uid, "taken".to_owned(), self.now);
                continue;
            }
            if let Some(packed) = self.memory.reports.packed(uid) {
                self.reports.insert(uid.to_owned(), unpack(&packed.unwrap()).unwrap());
                self.memory.reports.wrote(uid, self.now);
            }
        }
        self.apply_statuses(actions);
        self.answer();
    }

    /// Until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        for _ in 0..8 {
            self.step();
        }
    }

    /// Lets time pass, a second at a time.
    pub fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now += SignedDuration::from_secs(1);
            self.step();
        }
    }
}
