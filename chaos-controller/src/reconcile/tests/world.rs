//! Plays a cluster by maps: pods, agents, runs, and a clock that the test sets.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::{
    AllowedVerbs, NodeFeatures, Policy,
    kinds::{Condition, Experiment, Run, RunStatus},
};
use chaos_kube::{FAULTS, FEATURES, STATUS, digest};
use chaos_plan::KernelFeatures;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};

use super::super::{Actions, PodWrite, decide};
use crate::{
    agents::Agents,
    names::{AGENT_LABEL, FIELD_MANAGER},
    observed::Observed,
    pods::PodFacts,
    progress::Memory,
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
    uid: String,
    node: String,
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
    pub lever: Option<String>,
    /// Whether agents do what they are told.
    pub answers: bool,
    /// Annotations that were written.
    pub writes: usize,
    pods: BTreeMap<String, PodState>,
    agents: BTreeMap<String, Agent>,
    experiments: BTreeMap<String, Arc<Experiment>>,
    runs: BTreeMap<String, Arc<Run>>,
    /// By namespace and name.
    pub services: BTreeMap<(String, String), Arc<Service>>,
    memory: Memory,
    made: u32,
}

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
            lever: None,
            answers: true,
            writes: 0,
            pods: BTreeMap::new(),
            agents: BTreeMap::new(),
            experiments: BTreeMap::new(),
            runs: BTreeMap::new(),
            services: BTreeMap::new(),
            memory: Memory::default(),
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

    pub fn agent(&mut self, node: &str, agent: Agent) {
        self.agents.insert(node.to_owned(), agent);
    }

    pub fn add(&mut self, name: &str, node: &str) {
        self.made += 1;
        let pod = PodState {
            uid: format!("uid-{}", self.made),
            node: node.to_owned(),
            created: self.now,
            ready: true,
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            faults: None,
            status: None,
        };
        self.pods.insert(name.to_owned(), pod);
    }

    pub fn remove(&mut self, pod: &str) {
        self.pods.remove(pod);
    }

    pub fn set_ready(&mut self, pod: &str, ready: bool) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.ready = ready;
        }
    }

    pub fn relabel(&mut self, pod: &str, app: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.labels.insert("app".to_owned(), app.to_owned());
        }
    }

    /// As kubectl does it; an empty text takes the annotation away.
    pub fn annotate(&mut self, pod: &str, text: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.faults =
                (!text.is_empty()).then(|| (text.to_owned(), "kubectl-annotate".to_owned()));
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// Pods that have a text of the controller.
    pub fn held(&self) -> Vec<String> {
        let ours = |pod: &PodState| {
            pod.faults.as_ref().is_some_and(|(_, manager)| manager == FIELD_MANAGER)
        };
        self.pods.iter().filter(|(_, pod)| ours(pod)).map(|(name, _)| name.clone()).collect()
    }

    pub fn nodes_of(&self, pods: &[String]) -> usize {
        let nodes = pods.iter().map(|pod| &self.pods[pod].node);
        nodes.collect::<std::collections::BTreeSet<_>>().len()
    }

    pub fn text(&self, pod: &str) -> Option<String> {
        self.pods[pod].faults.as_ref().map(|(text, _)| text.clone())
    }

    pub fn run(&mut self, name: &str, inline: Value) {
        self.run_in_mode(name, inline, "Armed");
    }

    pub fn run_in_mode(&mut self, name: &str, inline: Value, mode: &str) {
        self.make_run(name, json!({ "inline": inline, "mode": mode }));
    }

    pub fn run_of(&mut self, name: &str, experiment: &str) {
        self.make_run(name, json!({ "experiment": experiment }));
    }

    fn make_run(&mut self, name: &str, spec: Value) {
        self.made += 1;
        let run = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run", "spec": spec,
            "metadata": { "namespace": "shop", "name": name, "uid": format!("run-{}", self.made),
                          "creationTimestamp": self.now.to_string() },
        });
        self.runs.insert(name.to_owned(), Arc::new(serde_json::from_value(run).unwrap()));
    }

    pub fn halt(&mut self, run: &str) {
        if let Some(run) = self.runs.get_mut(run) {
            Arc::make_mut(run).spec.halt = true;
        }
    }

    pub fn delete_run(&mut self, run: &str) {
        self.runs.remove(run);
    }

    pub fn experiment(&mut self, name: &str, spec: Value) {
        let experiment = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment", "spec": spec,
            "metadata": { "namespace": "shop", "name": name, "uid": name },
        });
        let experiment = serde_json::from_value(experiment).unwrap();
        self.experiments.insert(name.to_owned(), Arc::new(experiment));
    }

    pub fn delete_experiment(&mut self, name: &str) {
        self.experiments.remove(name);
    }

    pub fn status(&self, run: &str) -> RunStatus {
        self.runs[run].status.clone().unwrap()
    }

    pub fn has_no_status(&self, run: &str) -> bool {
        self.runs[run].status.is_none()
    }

    pub fn condition(&self, run: &str, type_: &str) -> Option<Condition> {
        self.status(run).conditions.into_iter().find(|condition| condition.type_ == type_)
    }

    pub fn experiment_condition(&self, name: &str) -> Option<Condition> {
        self.experiments[name].status.as_ref()?.conditions.first().cloned()
    }

    /// Another controller leads, which has seen nothing.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// What is to be done now.
    pub fn look(&mut self) -> Actions {
        let mut pods: Vec<PodFacts> =
            self.pods.iter().map(|(name, pod)| PodFacts::of(&Arc::new(pod.object(name)))).collect();
        let agents: Vec<PodFacts> =
            self.agents.iter().filter_map(|(node, agent)| agent.pod(node)).collect();
        let agents = Agents::default().by_node(&agents, "chaos-agent");
        pods.sort_by(|one, other| one.uid.cmp(&other.uid));
        let mut runs: Vec<Arc<Run>> = self.runs.values().cloned().collect();
        runs.sort_by_key(|run| run.metadata.uid.clone());
        let observed = Observed {
            now: self.now,
            lever: self.lever.clone(),
            enabled: self
                .enabled
                .then(|| ("shop".to_owned(), AllowedVerbs::default()))
                .into_iter()
                .collect(),
            pods: BTreeMap::from([("shop".to_owned(), pods)]),
            nodes: self.agents.keys().map(|node| (node.clone(), BTreeMap::new())).collect(),
            agents,
            experiments: self.experiments.values().cloned().collect(),
            runs,
            services: self.services.clone(),
            ..Observed::empty(self.now)
        };
        decide(&observed, &mut self.memory)
    }

    pub fn apply_statuses(&mut self, actions: Actions) {
        for (run, status) in actions.runs {
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

    /// As server-side apply without force does it.
    pub fn write(&mut self, write: &PodWrite) {
        let Some(pod) = self.pods.get_mut(&write.pod.name).filter(|pod| pod.uid == write.uid)
        else {
            return;
        };
        if pod.faults.as_ref().is_some_and(|(_, manager)| manager != FIELD_MANAGER) {
            return;
        }
        self.writes += 1;
        pod.faults = write.text.clone().map(|text| (text, FIELD_MANAGER.to_owned()));
    }

    /// One look, with everything done that it asks for, and what agents make of it.
    pub fn step(&mut self) {
        let actions = self.look();
        for write in &actions.clear {
            self.write(write);
        }
        for write in &actions.write {
            self.write(write);
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

    /// Agents arm what pods ask for, and end it when its time is over.
    pub fn answer(&mut self) {
        for pod in self.pods.values_mut().filter(|_| self.answers) {
            let Some((text, _)) = &pod.faults else {
                if let Some(status) = &mut pod.status {
                    status["phase"] = json!("Ended");
                    status.as_object_mut().unwrap().remove("observed");
                }
                continue;
            };
            let read = chaos_fault::parse(text).unwrap();
            let is_over =
                read.iter().any(|one| one.fault.until.is_some_and(|until| until <= self.now));
            let phase = if is_over { "Ended" } else { "Armed" };
            let observed = json!(digest(text));
            if let Some(status) =
                pod.status.as_mut().filter(|status| status["observed"] == observed)
            {
                status["phase"] = json!(phase);
                continue;
            }
            let faults: Vec<Value> = read
                .iter()
                .map(|one| {
                    json!({ "fault": one.fault.to_string(), "phase": "active", "matched": 0,
                            "injected": 0, "shadowed": 0, "spared": {} })
                })
                .collect();
            pod.status = Some(json!({ "phase": phase, "observed": observed, "faults": faults }));
        }
    }

    /// Lets the agent of a pod have counted.
    pub fn count(&mut self, pod: &str, matched: u64, injected: u64) {
        let status = self.pods.get_mut(pod).unwrap().status.as_mut().unwrap();
        status["faults"][0]["matched"] = json!(matched);
        status["faults"][0]["injected"] = json!(injected);
        status["faults"][0]["spared"] = json!({ "chance": matched - injected });
    }
}

impl PodState {
    fn object(&self, name: &str) -> Pod {
        let mut annotations = BTreeMap::new();
        let mut managers = Vec::new();
        if let Some((text, manager)) = &self.faults {
            annotations.insert(FAULTS, text.clone());
            let owned = json!({ "f:metadata": { "f:annotations": { format!("f:{FAULTS}"): {} } } });
            managers.push(json!({ "manager": manager, "fieldsV1": owned }));
        }
        if let Some(status) = &self.status {
            annotations.insert(STATUS, status.to_string());
        }
        let ready = if self.ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": name, "uid": self.uid, "labels": self.labels,
                          "annotations": annotations, "managedFields": managers,
                          "creationTimestamp": self.created.to_string() },
            "spec": { "nodeName": self.node, "containers": [{ "name": "main" }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }
}

impl Agent {
    fn pod(self, node: &str) -> Option<PodFacts> {
        let kernel = match self {
            Self::Missing => return None,
            Self::Fit | Self::Silent | Self::Strict => Some(KernelFeatures::everything("6.12")),
            Self::Weak => Some(KernelFeatures::nothing("4.9")),
            Self::Old => None,
        };
        let policy = match self {
            Self::Strict => Policy::default().allowing("delay".parse().unwrap()),
            Self::Fit | Self::Missing | Self::Old | Self::Silent | Self::Weak => Policy::default(),
        };
        let said = kernel
            .map(|kernel| NodeFeatures::new("0.1.0", &policy, kernel).to_annotation().unwrap());
        let annotations: BTreeMap<&str, String> =
            said.map(|said| (FEATURES, said)).into_iter().collect();
        let (key, value) = AGENT_LABEL;
        let ready = if self == Self::Silent { "False" } else { "True" };
        let pod = json!({
            "metadata": { "namespace": "chaos-agent", "name": node, "uid": node,
                          "labels": { key: value }, "annotations": annotations },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        Some(PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap())))
    }
}
