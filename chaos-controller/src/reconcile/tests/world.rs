//! Plays a cluster by maps: pods, agents, runs, and a clock that the test sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_api::{
    NodeFeatures, Policy,
    kinds::{Condition, Experiment, Run, RunPhase, RunStatus},
};
use chaos_kube::{FAULTS, FEATURES, STATUS, digest};
use chaos_plan::KernelFeatures;
use chaos_probe::{Outcome, Sample};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::super::{Actions, PodWrite, decide};
use crate::{
    agents::Agents,
    budgets::Budget,
    names::{AGENT_LABEL, FIELD_MANAGER},
    namespaces::Allowed,
    observed::Observed,
    ownership::ControlledBy,
    pods::PodFacts,
    probes::{Question, Samples},
    progress::Memory,
    removal::{PodRemoval, Way},
    report::{Entry, Line, Record, State, unpack},
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

    pub fn agent(&mut self, node: &str, agent: Agent) {
        self.agents.insert(node.to_owned(), agent);
    }

    pub fn add(&mut self, name: &str, node: &str) {
        self.made += 1;
        let pod = PodState {
            namespace: "shop".to_owned(),
            uid: format!("uid-{}", self.made),
            node: node.to_owned(),
            owner: None,
            created: self.now,
            ready: true,
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            faults: None,
            status: None,
        };
        self.pods.insert(name.to_owned(), pod);
    }

    pub fn move_to(&mut self, pod: &str, namespace: &str) {
        self.pods.get_mut(pod).unwrap().namespace = namespace.to_owned();
    }

    pub fn own(&mut self, pod: &str, owner: [&'static str; 3]) {
        self.pods.get_mut(pod).unwrap().owner = Some(owner);
    }

    /// Pods of `app=web` that serve.
    pub fn ready(&self) -> Vec<String> {
        let is_web = |pod: &PodState| pod.ready && pod.labels["app"] == "web";
        self.pods.iter().filter(|(_, pod)| is_web(pod)).map(|(name, _)| name.clone()).collect()
    }

    /// When the first step of a run began.
    pub fn began(&self, run: &str) -> Option<Timestamp> {
        let steps = &self.runs.get(run)?.status.as_ref()?.steps;
        steps.first()?.started.as_ref().map(|time| time.0)
    }

    pub fn created(&self, pod: &str) -> Timestamp {
        self.pods[pod].created
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

    /// Pods of whose faults an agent says that they are in force.
    pub fn broken(&self) -> Vec<String> {
        let is_armed =
            |pod: &PodState| pod.status.as_ref().is_some_and(|said| said["phase"] == "Armed");
        self.pods.iter().filter(|(_, pod)| is_armed(pod)).map(|(name, _)| name.clone()).collect()
    }

    pub fn nodes_of(&self, pods: &[String]) -> usize {
        let nodes = pods.iter().map(|pod| &self.pods[pod].node);
        nodes.collect::<BTreeSet<_>>().len()
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
        self.run_in("shop", name, spec);
    }

    pub fn run_in(&mut self, namespace: &str, name: &str, spec: Value) {
        self.made += 1;
        let run = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run", "spec": spec,
            "metadata": { "namespace": namespace, "name": name, "uid": format!("run-{:04}", self.made),
                          "creationTimestamp": self.now.to_string() },
        });
        self.runs.insert(name.to_owned(), Arc::new(serde_json::from_value(run).unwrap()));
    }

    pub fn halt(&mut self, run: &str) {
        if let Some(run) = self.runs.get_mut(run) {
            Arc::make_mut(run).spec.halt = true;
        }
    }

    /// What the report of a run says: pod, step, state and what was injected.
    pub fn report(&self, run: &str) -> Vec<(String, String, State, u64)> {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let line =
            |line: &Line| (line.pod.clone(), line.step.clone(), line.state, line.counts.injected);
        let entries = self.reports.get(uid).into_iter().flatten();
        let pods = entries.filter_map(|entry| match entry {
            Entry::Pod(line) => Some(line),
            Entry::Record(_) => None,
        });
        let mut lines: Vec<_> = pods.map(line).collect();
        lines.sort();
        lines
    }

    /// What the report of a run says has happened.
    pub fn happened(&self, run: &str) -> Vec<String> {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let event = |entry: &Entry| match entry {
            Entry::Record(Record::Event(event)) => Some(event.what.clone()),
            Entry::Record(Record::Sample(_)) | Entry::Pod(_) => None,
        };
        self.reports.get(uid).into_iter().flatten().filter_map(event).collect()
    }

    /// So many answers of probes are in the report of a run.
    pub fn sampled(&self, run: &str) -> usize {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let is_sample = |entry: &&Entry| matches!(entry, Entry::Record(Record::Sample(_)));
        self.reports.get(uid).into_iter().flatten().filter(is_sample).count()
    }

    pub fn run_names(&self) -> Vec<String> {
        self.runs.keys().cloned().collect()
    }

    pub fn delete_run(&mut self, run: &str) {
        self.runs.remove(run);
    }

    pub fn experiment(&mut self, name: &str, spec: Value) {
        self.made += 1;
        let experiment = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment", "spec": spec,
            "metadata": { "namespace": "shop", "name": name, "uid": name, "generation": self.made },
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

    /// As a controller of Kubernetes keeps the status of a PodDisruptionBudget.
    fn budgets(&self, namespace: &str) -> Vec<Budget> {
        let Some(least) = self.min_available else { return Vec::new() };
        let serves = |pod: &&PodState| pod.namespace == namespace && pod.ready;
        let is_web = |pod: &&PodState| pod.labels.get("app").is_some_and(|app| app == "web");
        let healthy = self.pods.values().filter(serves).filter(is_web).count();
        let allowed = healthy.saturating_sub(least);
        let object = json!({ "metadata": { "namespace": namespace, "name": "web", "generation": 1 },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
                        "desiredHealthy": least, "expectedPods": healthy } });
        vec![Budget::of(&Arc::new(serde_json::from_value(object).unwrap()))]
    }

    /// As the API server does it: deletes the pod, if it is the one that was meant. An eviction has to be allowed.
    pub fn remove_by(&mut self, removal: &PodRemoval) {
        let is_meant = |pod: &PodState| pod.uid == removal.uid;
        if !self.pods.get(&removal.pod.name).is_some_and(is_meant) {
            return;
        }
        let budgets = self.budgets(&removal.pod.namespace);
        if removal.way == Way::Evict && budgets.iter().any(|budget| budget.allowed == 0) {
            return;
        }
        self.removed.push(removal.pod.name.clone());
        self.pods.remove(&removal.pod.name);
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

    /// Asks the probes that are due. The next look has the answers.
    fn ask(&mut self, questions: &[Question]) {
        for question in questions {
            let (run, name) = (question.asking.run_uid.clone(), &question.probing.probe.name);
            if self.silent.contains(name) {
                continue;
            }
            let key = (run.clone(), name.clone());
            // What is asked when nothing is broken any more begins in the next second.
            if question.phase == RunPhase::Recovering && self.after.insert(key.clone()) {
                self.asked.insert(key, self.now);
                continue;
            }
            let every = SignedDuration::try_from(question.every).unwrap();
            if self.asked.get(&key).is_some_and(|at| self.now.duration_since(*at) < every) {
                continue;
            }
            self.asked.insert(key, self.now);
            self.questions.push((name.clone(), question.baseline));
            let outcome = self.service.get(name).copied().unwrap_or(Outcome::Pass);
            let (value, seen) = match outcome {
                Outcome::Pass => (Some(0.25), "200, 250ms"),
                Outcome::Fail => (Some(2.0), "500, 2s"),
                Outcome::Error => (None, "no such host"),
            };
            let seen = if self.answer_at_length { "x".repeat(240) } else { seen.to_owned() };
            let sample = Sample { at: self.now, outcome, value, seen };
            self.samples.entry(run).or_default().push((name.clone(), sample));
        }
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

    /// Lets the faults of a pod be over, whatever they ask for. From then on agents say nothing else.
    pub fn end(&mut self, pod: &str) {
        self.answers = false;
        let status = self.pods.get_mut(pod).unwrap().status.as_mut().unwrap();
        status["phase"] = json!("Ended");
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
            managers
                .push(json!({ "manager": manager, "operation": "Apply", "subresource": "status",
                                    "fieldsV1": owned }));
        }
        if let Some(status) = &self.status {
            annotations.insert(STATUS, status.to_string());
        }
        let ready = if self.ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "namespace": self.namespace, "name": name, "uid": self.uid, "labels": self.labels,
                          "ownerReferences": self.owner.map(|owner| controlled(&owner).owner_references),
                          "annotations": annotations, "managedFields": managers,
                          "creationTimestamp": self.created.to_string() },
            "spec": { "nodeName": self.node, "containers": [{ "name": "main" }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }
}

/// The metadata of what is controlled by an owner.
fn controlled([version, kind, name]: &[&str; 3]) -> ObjectMeta {
    let owner = json!({ "apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": true });
    serde_json::from_value(json!({ "ownerReferences": [owner] })).unwrap()
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
