//! Stands in for the API server and the kubelet of one node, and runs the agent's loop on what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chaos_api::{ArmedId, Engine as _, Policy, TargetReport};
use chaos_arm::{
    Keeper,
    fake::{FakeEngine, Shared},
};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    core::PartialObjectMeta,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::json;
use tokio::{sync::mpsc, task::yield_now};

use super::super::{
    super::{
        Options,
        clock::{Now, TimeSource},
        guard::Guard,
        latency::Latency,
        liveness::{Liveness, Watch},
        names::{ALLOW_VERBS, ENABLED, FAULTS, GUARD, PodName, STATUS},
        notices::{self, Change},
        status::{PodPhase, Status},
        status_writer::Message,
        texts::{Text, Texts},
    },
    Reconciler,
};

pub const NAMESPACES: [&str; 2] = ["shop", "bank"];

/// Namespace and name.
pub const PODS: [(&str, &str); 2] = [("shop", "web-0"), ("bank", "db-0")];

const SECOND: u64 = 1_000_000_000;
/// By the wall clock, when the machine was started; seconds.
const STARTED: i64 = 1_000_000;
const GRACE: Duration = Duration::from_secs(30);
/// Longer than any test plays.
const LEASE: Duration = Duration::from_secs(3600);

/// A pod as the API server has it.
#[derive(Clone)]
pub struct SimulatedPod {
    pub uid: String,
    pub text: Option<&'static str>,
    pub is_over: bool,
    /// Of the container `main`.
    container: String,
    status: Option<String>,
}

/// The guard's Lease as the API server has it.
#[derive(Clone, Default)]
pub struct SimulatedLease {
    pub uid: u64,
    /// How often it was renewed.
    pub renewals: i64,
    annotations: BTreeMap<&'static str, &'static str>,
}

impl SimulatedLease {
    pub fn annotate(&mut self, key: &'static str, value: Option<&'static str>) {
        self.annotations.remove(key);
        self.annotations.extend(value.map(|value| (key, value)));
    }
}

/// A cluster with one node.
pub struct Cluster {
    /// What the API server knows.
    pub pods: BTreeMap<usize, SimulatedPod>,
    enabled: BTreeSet<&'static str>,
    /// The verbs that namespaces allow, where they say so.
    verbs: Option<&'static str>,
    lease: Option<SimulatedLease>,
    /// Whether the agent hears it.
    pub is_heard: bool,
    /// Since when it does not; by the boot clock, ns.
    lost_at: Option<u64>,
    pub longest: Duration,
    world: Shared,
    made: u64,
    agent: Option<Agent>,
}

/// The agent of the node. What borrows is leaked: a test makes some thousands.
struct Agent {
    keeper: Keeper<FakeEngine>,
    reconciler: Reconciler<'static, FakeEngine>,
    pods: Writer<Pod>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
    leases: Writer<Lease>,
    changes: mpsc::UnboundedReceiver<Change>,
    answers: mpsc::UnboundedReceiver<Message>,
    /// Answers that the server has not heard yet.
    unwritten: BTreeMap<PodName, Status>,
}

impl Cluster {
    pub fn new() -> Self {
        let world = Shared::default();
        // Some time after boot.
        world.lock().now = 1_000 * SECOND;
        world.lock().wall = Timestamp::from_second(STARTED + 1_000).unwrap();
        let mut cluster = Self {
            pods: BTreeMap::new(),
            enabled: BTreeSet::new(),
            verbs: None,
            lease: None,
            is_heard: true,
            lost_at: None,
            longest: LEASE,
            world,
            made: 0,
            agent: None,
        };
        cluster.start_agent();
        cluster
    }

    /// Boot clock, ns.
    pub fn now(&self) -> u64 {
        self.world.lock().now
    }

    pub fn is_enabled(&self, pod: usize) -> bool {
        self.enabled.contains(PODS[pod].0)
    }

    /// Whether the agent may go by what it heard of the server last.
    pub fn is_in_grace(&self) -> bool {
        self.lost_at.is_none_or(|lost| self.now() - lost < GRACE.as_nanos() as u64)
    }

    pub fn status(&self, pod: usize) -> Option<Status> {
        self.pods.get(&pod)?.status.as_deref().and_then(Status::read)
    }

    /// What is armed, whatever for.
    pub async fn armed(&self) -> Vec<TargetReport> {
        let handle = self.agent().keeper.handle();
        let reports = handle.with(|engine| {
            let reports = engine.ids().filter_map(|id| engine.report(id));
            reports.map(|report| report.expect("it can be read")).collect()
        });
        reports.await.expect("the keeper is there")
    }

    pub async fn create(&mut self, pod: usize) {
        if self.pods.contains_key(&pod) {
            return;
        }
        self.made += 1;
        let uid = format!("0f-{}", self.made);
        let container = self.new_container();
        self.world.lock().pods.insert(uid.clone(), [container.parse().unwrap()].into());
        let made = SimulatedPod { uid, text: None, is_over: false, container, status: None };
        self.pods.insert(pod, made);
        self.tell_of(pod);
    }

    pub async fn annotate(&mut self, pod: usize, text: Option<&'static str>) {
        if let Some(known) = self.pods.get_mut(&pod) {
            known.text = text;
            self.tell_of(pod);
        }
    }

    pub async fn delete(&mut self, pod: usize) {
        let Some(gone) = self.pods.remove(&pod) else { return };
        self.world.lock().pods.remove(&gone.uid);
        if self.is_heard {
            let object = object(pod, &gone);
            self.agent_mut().pods.apply_watcher_event(&Event::Delete(object));
        }
    }

    pub async fn restart_container(&mut self, pod: usize) {
        if self.pods.get(&pod).is_none_or(|known| known.is_over) {
            return;
        }
        let container = self.new_container();
        if let Some(known) = self.pods.get_mut(&pod) {
            known.container.clone_from(&container);
            let running = [container.parse().unwrap()].into();
            self.world.lock().pods.insert(known.uid.clone(), running);
        }
        self.tell_of(pod);
    }

    pub async fn finish(&mut self, pod: usize) {
        if let Some(known) = self.pods.get_mut(&pod) {
            known.is_over = true;
            self.world.lock().pods.remove(&known.uid);
        }
        self.tell_of(pod);
    }

    pub async fn label(&mut self, namespace: usize, is_enabled: bool) {
        let name = NAMESPACES[namespace];
        match is_enabled {
            true => drop(self.enabled.insert(name)),
            false => drop(self.enabled.remove(name)),
        }
        if self.is_heard {
            let object = namespace_object(name, self.verbs);
            let event = if is_enabled { Event::Apply(object) } else { Event::Delete(object) };
            self.agent_mut().namespaces.apply_watcher_event(&event);
        }
    }

    /// All namespaces that are labelled from now on allow these verbs.
    pub fn allow_verbs(&mut self, verbs: &'static str) {
        self.verbs = Some(verbs);
    }

    /// The containers that were killed, each time.
    pub fn kills(&self) -> Vec<String> {
        self.world.lock().kills.iter().map(ToString::to_string).collect()
    }

    /// The Lease changes: it is made, if there is none.
    pub fn change_lease(&mut self, change: impl FnOnce(&mut SimulatedLease)) {
        self.made += 1;
        let made = SimulatedLease { uid: self.made, ..SimulatedLease::default() };
        let lease = self.lease.get_or_insert(made);
        change(lease);
        let object = lease_object(lease);
        self.tell_of_lease(Event::Apply(object));
    }

    pub fn delete_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.tell_of_lease(Event::Delete(lease_object(&lease)));
        }
    }

    fn tell_of_lease(&mut self, event: Event<Lease>) {
        if self.is_heard {
            self.agent_mut().leases.apply_watcher_event(&event);
        }
    }

    /// The wall clock is set; the boot clock goes on.
    pub fn set_wall_clock(&mut self, wall: Timestamp) {
        self.world.lock().wall = wall;
    }

    /// So many seconds in steps of five, as the controller renews the Lease.
    pub async fn pass_guarded(&mut self, seconds: u64) {
        for _ in (0..seconds).step_by(5) {
            self.change_lease(|lease| lease.renewals += 1);
            self.pass(5).await;
        }
    }

    /// Somebody disarms what is armed of a pod; whether that was something.
    pub async fn disarm(&mut self, pod: usize) -> bool {
        let (namespace, name) = PODS[pod];
        let of_pod = format!("pod:{namespace}/{name}");
        let handle = self.agent().keeper.handle();
        let disarmed = handle.with(move |engine| {
            let ids = engine.ids().filter(|id| {
                id.0.strip_prefix(&of_pod)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            let ids: Vec<ArmedId> = ids.cloned().collect();
            engine.disarm_all(&ids, "somebody said so").len()
        });
        disarmed.await.expect("the keeper is there") > 0
    }

    /// The agent looks at its pods once.
    pub async fn look(&mut self) {
        self.agent_mut().reconciler.reconcile().await.expect("the keeper is there");
    }

    /// Arming takes so many seconds from now on.
    pub fn slow_down(&mut self, seconds: u64) {
        self.world.lock().arming_takes = seconds * SECOND;
    }

    /// So many events a second match each fault from now on.
    pub fn match_events(&mut self, a_second: u64) {
        self.world.lock().rate = a_second;
    }

    /// What was armed and disarmed since the last call.
    pub fn deeds(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().deeds)
    }

    /// Somebody halts everything at the node; how many targets were armed.
    pub async fn halt(&mut self) -> usize {
        let handle = self.agent().keeper.handle();
        handle.halt("somebody said so".to_owned()).await.expect("the keeper is there").len()
    }

    /// The container that runs is not there any more, or is there again.
    pub fn set_running(&mut self, pod: usize, is_running: bool) {
        let known = &self.pods[&pod];
        let running = is_running.then(|| known.container.parse().unwrap());
        self.world.lock().pods.insert(known.uid.clone(), running.into_iter().collect());
    }

    /// Ends the agent, by SIGTERM or by SIGKILL, and starts the next one.
    pub async fn restart_agent(&mut self, is_told: bool) {
        let mut agent = self.agent.take().expect("there is always one");
        if is_told {
            let Agent { reconciler, .. } = agent;
            reconciler.withdraw().await.expect("the keeper is there");
            while let Ok(message) = agent.answers.try_recv() {
                note(&mut agent.unwritten, message);
            }
            self.write(&mut agent.unwritten);
        }
        drop(agent.keeper);
        self.start_agent();
    }

    pub async fn allow(&mut self, longest: Duration) {
        self.longest = longest;
        self.restart_agent(true).await;
    }

    pub fn lose_server(&mut self) {
        if std::mem::take(&mut self.is_heard) {
            self.lost_at = Some(self.now());
        }
    }

    pub async fn find_server(&mut self) {
        self.is_heard = true;
        self.lost_at = None;
        self.list();
    }

    /// The agent ends what is over and looks at what is due, so many seconds later.
    pub async fn pass(&mut self, seconds: u64) {
        let mut left = seconds;
        while left > 0 {
            // The server is asked more often than the grace is long.
            let piece = left.min(5);
            left -= piece;
            {
                let mut world = self.world.lock();
                world.now += piece * SECOND;
                world.wall += Duration::from_secs(piece);
            }
            if self.is_heard {
                self.agent().reconciler.liveness.heard();
            } else {
                self.agent().reconciler.liveness.give_up_after_grace();
            }
        }
        let handle = self.agent().keeper.handle();
        if !self.is_in_grace() {
            // As the keeper does with what is not tethered any more.
            let end = |engine: &mut FakeEngine| {
                let why = "pod has not been heard of for too long";
                let over: Vec<_> = engine.ids().map(|id| (id.clone(), why.to_owned())).collect();
                engine.end_all(&over);
            };
            handle.with(end).await.expect("the keeper is there");
        }
        handle.with(FakeEngine::tick).await.expect("the keeper is there");
        self.settle().await;
    }

    /// Lets the agent do what is to be done at this moment, and the server take its answers.
    pub async fn settle(&mut self) {
        let mut is_done = false;
        while !is_done {
            // What the keeper tells comes through a task of its own.
            yield_now().await;
            yield_now().await;
            is_done = true;
            let agent = self.agent.as_mut().expect("there is always one");
            while let Ok(change) = agent.changes.try_recv() {
                is_done = false;
                let reconciler = &mut agent.reconciler;
                match change {
                    Change::Ended(ended) => reconciler.ended(ended).await,
                    Change::Disarmed(ended) => reconciler.disarmed(ended).await,
                    Change::Unknown => reconciler.look_for_lost().await,
                }
                .expect("the keeper is there");
            }
            agent.reconciler.reconcile().await.expect("the keeper is there");
            is_done &= !agent.reconciler.is_unfinished;
            agent.reconciler.refresh().await.expect("the keeper is there");
            while let Ok(message) = agent.answers.try_recv() {
                is_done = false;
                note(&mut agent.unwritten, message);
            }
            let mut unwritten = std::mem::take(&mut agent.unwritten);
            self.write(&mut unwritten);
            self.agent_mut().unwritten = unwritten;
        }
    }

    /// Writes answers onto the pods, if they are heard.
    fn write(&mut self, unwritten: &mut BTreeMap<PodName, Status>) {
        if !self.is_heard {
            return;
        }
        for (name, status) in std::mem::take(unwritten) {
            let is_it = |&(namespace, pod): &(&str, &str)| {
                (namespace, pod) == (name.namespace.as_str(), name.name.as_str())
            };
            let pod = PODS.iter().position(is_it).expect("a pod of this cluster");
            if let Some(known) = self.pods.get_mut(&pod) {
                known.status = Some(serde_json::to_string(&status).expect("a status is JSON"));
                self.tell_of(pod);
            }
        }
    }

    fn start_agent(&mut self) {
        let keeper = Keeper::start(FakeEngine::new(self.world.clone()), LEASE).unwrap();
        let handle = keeper.handle();
        let (world, start) = (self.world.clone(), Instant::now());
        let began = self.now();
        let clocks = TimeSource::of(move || {
            let (boot, wall) = {
                let world = world.lock();
                (world.now, world.wall)
            };
            let passed = Duration::from_nanos(boot - began);
            Now { wall, boot, boot_id: Now::boot_id(), instant: start + passed }
        });
        let options = Box::leak(Box::new(Options {
            node_name: "node".to_owned(),
            node_ips: Vec::new(),
            policy: Policy::new(Duration::from_secs(30), self.longest).unwrap(),
            grace: GRACE,
            namespace: "chaos-agent".to_owned(),
            pod_name: None,
        }));
        let liveness: &Liveness<FakeEngine> =
            Box::leak(Box::new(Liveness::new(handle.clone(), clocks.clone(), GRACE)));
        let (pods, pods_writer) = reflector::store();
        let (namespaces, namespaces_writer) = reflector::store();
        let (leases, leases_writer) = reflector::store();
        let (answers, answered) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::unbounded_channel();
        tokio::spawn(notices::forward(handle.clone(), changed));
        let reconciler = Reconciler {
            handle,
            clocks,
            options,
            liveness,
            pods,
            namespaces,
            leases,
            guard: Guard::default(),
            answers,
            latency: Latency::default(),
            texts: Texts::new(Text::read),
            known: BTreeMap::new(),
            is_deaf: false,
            is_unfinished: false,
            passed: None,
        };
        self.agent = Some(Agent {
            keeper,
            reconciler,
            pods: pods_writer,
            namespaces: namespaces_writer,
            leases: leases_writer,
            changes,
            answers: answered,
            unwritten: BTreeMap::new(),
        });
        if self.is_heard {
            self.list();
        }
    }

    /// The server lists everything, and the watches are in order.
    fn list(&mut self) {
        let pods: Vec<Pod> = self.pods.iter().map(|(pod, known)| object(*pod, known)).collect();
        let namespaces: Vec<_> =
            self.enabled.iter().map(|name| namespace_object(name, self.verbs)).collect();
        let lease = self.lease.as_ref().map(lease_object);
        let agent = self.agent_mut();
        agent.leases.apply_watcher_event(&Event::Init);
        if let Some(lease) = lease {
            agent.leases.apply_watcher_event(&Event::InitApply(lease));
        }
        agent.leases.apply_watcher_event(&Event::InitDone);
        agent.pods.apply_watcher_event(&Event::Init);
        for pod in pods {
            agent.pods.apply_watcher_event(&Event::InitApply(pod));
        }
        agent.pods.apply_watcher_event(&Event::InitDone);
        agent.namespaces.apply_watcher_event(&Event::Init);
        for namespace in namespaces {
            agent.namespaces.apply_watcher_event(&Event::InitApply(namespace));
        }
        agent.namespaces.apply_watcher_event(&Event::InitDone);
        agent.reconciler.liveness.is_current(Watch::Pods, true);
        agent.reconciler.liveness.is_current(Watch::Namespaces, true);
        agent.reconciler.liveness.is_current(Watch::Guard, true);
    }

    fn tell_of(&mut self, pod: usize) {
        // Where there is none just now, the next one lists.
        if let Some(known) = self.pods.get(&pod)
            && let Some(agent) = self.agent.as_mut().filter(|_| self.is_heard)
        {
            agent.pods.apply_watcher_event(&Event::Apply(object(pod, known)));
            agent.reconciler.liveness.note_change();
        }
    }

    fn new_container(&mut self) -> String {
        self.made += 1;
        format!("{:064x}", self.made)
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("there is always one")
    }

    fn agent_mut(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("there is always one")
    }
}

fn note(unwritten: &mut BTreeMap<PodName, Status>, message: Message) {
    match message {
        Message::Answer(answer) => drop(unwritten.insert(answer.pod, answer.status)),
        Message::Gone(pod) => drop(unwritten.remove(&pod)),
    }
}

fn object(pod: usize, known: &SimulatedPod) -> Pod {
    let (namespace, name) = PODS[pod];
    let mut annotations = BTreeMap::new();
    annotations.extend(known.text.map(|text| (FAULTS, text)));
    annotations.extend(known.status.as_deref().map(|status| (STATUS, status)));
    let state = match known.is_over {
        true => json!({ "terminated": { "exitCode": 0 } }),
        false => json!({ "running": {} }),
    };
    let object = json!({
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": known.uid,
            "annotations": annotations,
        },
        "spec": { "containers": [{ "name": "main" }] },
        "status": {
            "phase": if known.is_over { "Succeeded" } else { "Running" },
            "containerStatuses": [{
                "name": "main",
                "image": "",
                "imageID": "",
                "ready": true,
                "restartCount": 0,
                "containerID": format!("containerd://{}", known.container),
                "state": state,
            }],
        },
    });
    serde_json::from_value(object).expect("a pod")
}

fn namespace_object(name: &str, verbs: Option<&str>) -> PartialObjectMeta<Namespace> {
    let labels = BTreeMap::from([(ENABLED, "true")]);
    let annotations = verbs.map(|verbs| json!({ ALLOW_VERBS: verbs }));
    let object =
        json!({ "metadata": { "name": name, "labels": labels, "annotations": annotations } });
    serde_json::from_value(object).expect("a namespace")
}

fn lease_object(lease: &SimulatedLease) -> Lease {
    let renewed = MicroTime(Timestamp::from_second(lease.renewals).expect("a moment"));
    let object = json!({
        "metadata": {
            "namespace": "chaos-agent",
            "name": GUARD,
            "uid": lease.uid.to_string(),
            "annotations": lease.annotations,
        },
        "spec": { "renewTime": renewed },
    });
    serde_json::from_value(object).expect("a lease")
}

/// Whether a status says that its pod is armed.
pub fn says_armed(status: Option<&Status>) -> bool {
    status.is_some_and(|status| status.phase == PodPhase::Armed)
}
