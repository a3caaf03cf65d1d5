//! Sets up a cluster with the manifests of agent and controller, pods that serve, and agents that the test plays.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use chaos_api::{
    NodeFeatures, Policy,
    kinds::{Experiment, Run, RunPhase, RunStatus},
};
use chaos_kube::{FAULTS, FEATURES, STATUS, digest};
use chaos_plan::KernelFeatures;
use chaos_tests::{
    control_plane::{ControlPlane, Identity},
    process::{Place, Process},
    program,
};
use flate2::read::GzDecoder;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::agent::client;

/// The namespace that allows faults.
pub const SHOP: &str = "shop";

pub const NODES: [&str; 2] = ["node-a", "node-b"];

/// Far longer than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the Lease of the tests' controllers holds: no test waits for the default.
pub const LEASE: Duration = Duration::from_secs(3);

pub struct Scene {
    pub plane: ControlPlane,
    pub runtime: Runtime,
    pub admin: Client,
    /// With which a client has the controller's account.
    pub account: PathBuf,
}

/// A running controller. Dropping it kills it.
pub struct Controller {
    process: Process,
}

impl Scene {
    /// Starts the API server, with four pods of `app=web` that serve on two nodes.
    pub fn set() -> Result<Self> {
        let plane = ControlPlane::start()?;
        let base = xtask::paths::workspace().join("manifests/base").display().to_string();
        plane.kubectl(&["apply", "--kustomize", &base])?;
        let account = install(&plane)?;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": SHOP, "labels": { "chaos-agent.dev/enabled": "true" } } });
        plane.apply(&namespace.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let admin = runtime.block_on(client(plane.kubeconfig(Identity::Admin)))?;
        let scene = Self { plane, runtime, admin, account };
        for node in NODES {
            let object =
                json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } });
            scene.plane.apply(&object.to_string())?;
            agent_of(&scene.plane, node)?;
        }
        for number in 0..4 {
            scene.pod(&format!("web-{number}"), NODES[number % 2])?;
        }
        Ok(scene)
    }

    /// A pod that serves.
    pub fn pod(&self, name: &str, node: &str) -> Result<()> {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": SHOP, "labels": { "app": "web" } },
            "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] } });
        self.plane.apply(&pod.to_string())?;
        serve(&self.plane, SHOP, name)
    }

    pub fn delete_pod(&self, name: &str) -> Result<()> {
        let now = DeleteParams::default().grace_period(0);
        self.runtime.block_on(self.pods().delete(name, &now))?;
        Ok(())
    }

    pub fn controller(&self, identity: &str) -> Result<Controller> {
        Controller::start(&self.account, identity)
    }

    /// Makes a run, and returns what the server makes of it.
    pub fn run(&self, name: &str, spec: Value) -> Result<Run> {
        let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
            "metadata": { "name": name }, "spec": spec });
        let run = serde_json::from_value(run).context("a run")?;
        Ok(self.runtime.block_on(self.runs().create(&PostParams::default(), &run))?)
    }

    pub fn experiment(&self, name: &str, spec: Value) -> Result<()> {
        let experiment = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment",
            "metadata": { "name": name }, "spec": spec });
        let experiment = serde_json::from_value(experiment).context("an experiment")?;
        let all: Api<Experiment> = Api::namespaced(self.admin.clone(), SHOP);
        self.runtime.block_on(all.create(&PostParams::default(), &experiment))?;
        Ok(())
    }

    pub fn halt(&self, run: &str) -> Result<()> {
        let halt = Patch::Merge(json!({ "spec": { "halt": true } }));
        self.runtime.block_on(self.runs().patch(run, &PatchParams::default(), &halt))?;
        Ok(())
    }

    pub fn runs(&self) -> Api<Run> {
        Api::namespaced(self.admin.clone(), SHOP)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), SHOP)
    }

    /// The status of a run, once it is as expected. Agents answer meanwhile.
    pub fn await_run(
        &self,
        name: &str,
        expected: impl Fn(&RunStatus) -> bool,
    ) -> Result<RunStatus> {
        self.await_run_in(&self.runs(), SHOP, name, expected)
    }

    /// The same of a run that is elsewhere, or whose pods are.
    pub fn await_run_in(
        &self,
        runs: &Api<Run>,
        pods_in: &str,
        name: &str,
        expected: impl Fn(&RunStatus) -> bool,
    ) -> Result<RunStatus> {
        self.await_that(name, || {
            self.answer_in(pods_in)?;
            let status = self.runtime.block_on(runs.get(name))?.status;
            Ok(match status {
                Some(status) if expected(&status) => Ok(status),
                other => Err(other),
            })
        })
    }

    pub fn await_end(&self, name: &str) -> Result<RunStatus> {
        self.await_run(name, |status| status.phase == RunPhase::Finished)
    }

    /// The texts that the controller has written, by pod, once there are so many.
    pub fn await_texts(&self, count: usize) -> Result<BTreeMap<String, String>> {
        self.await_that("texts", || {
            let texts = self.texts()?;
            Ok(if texts.len() == count { Ok(texts) } else { Err(texts) })
        })
    }

    /// Asks until the answer is good.
    pub fn await_that<T, E: Debug>(
        &self,
        what: &str,
        ask: impl FnMut() -> Result<Result<T, E>>,
    ) -> Result<T> {
        await_that(what, ask)
    }

    /// The texts that there are in the name of a run, by pod.
    pub fn texts(&self) -> Result<BTreeMap<String, String>> {
        let pods = self.runtime.block_on(self.pods().list(&ListParams::default()))?;
        let text = |pod: &Pod| {
            let text = pod.annotations().get(FAULTS).filter(|text| text.starts_with("# Run "))?;
            Some((pod.name_any(), text.clone()))
        };
        Ok(pods.items.iter().filter_map(text).collect())
    }

    /// The lines of the report that a status names.
    pub fn report(&self, status: &RunStatus) -> Result<Vec<Value>> {
        let name = status.report.as_deref().context("the status names a report")?;
        let all: Api<ConfigMap> = Api::namespaced(self.admin.clone(), SHOP);
        let report = self.runtime.block_on(all.get(name))?;
        let data = report.binary_data.unwrap_or_default();
        let ByteString(packed) = data.get("report.jsonl.gz").context("a report has data")?;
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text)?;
        text.lines().map(|line| serde_json::from_str(line).context("a line is JSON")).collect()
    }

    /// Says on each pod what an agent would say of its text.
    pub fn answer(&self) -> Result<()> {
        self.answer_in(SHOP)
    }

    /// The same on the pods of a namespace.
    pub fn answer_in(&self, namespace: &str) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        self.runtime.block_on(async {
            for pod in api.list(&ListParams::default()).await? {
                let annotations = pod.annotations();
                let said = annotations
                    .get(STATUS)
                    .map_or(Value::Null, |said| said.parse().unwrap_or(Value::Null));
                let text = annotations.get(FAULTS).map(String::as_str);
                let Some(status) = answer_to(text, &said) else { continue };
                let change =
                    json!({ "metadata": { "annotations": { STATUS: status.to_string() } } });
                let params = PatchParams::default();
                api.patch_status(&pod.name_any(), &params, &Patch::Merge(change)).await?;
            }
            Ok(())
        })
    }
}

/// What an agent says of a text where it has `said` something else before: that its faults are in force, or that they
/// have ended, because their time is up or the text is gone.
fn answer_to(text: Option<&str>, said: &Value) -> Option<Value> {
    let Some(text) = text else {
        let mut last = said.clone();
        if last["phase"] != "Armed" {
            return None;
        }
        last["phase"] = json!("Ended");
        last.as_object_mut()?.remove("observed");
        return Some(last);
    };
    let phase = if is_over(text) { "Ended" } else { "Armed" };
    if said["observed"] == json!(digest(text)) && said["phase"] == phase {
        return None;
    }
    let sentences = text.lines().filter(|line| !line.starts_with('#'));
    let faults: Vec<Value> = sentences
        .map(|sentence| {
            json!({ "fault": sentence, "phase": "active", "matched": 10, "injected": 4,
                    "shadowed": 0, "spared": { "chance": 6 } })
        })
        .collect();
    Some(json!({ "phase": phase, "observed": digest(text), "faults": faults }))
}

/// Whether the time of a fault is up.
fn is_over(text: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let sentences = chaos_fault::parse(text).unwrap_or_default();
    let mut ends = sentences.iter().filter_map(|sentence| sentence.fault.until);
    ends.any(|until| u64::try_from(until.as_second()).is_ok_and(|until| until <= now))
}

/// Asks until the answer is good.
pub fn await_that<T, E: Debug>(
    what: &str,
    mut ask: impl FnMut() -> Result<Result<T, E>>,
) -> Result<T> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(other) if Instant::now() > give_up => {
                bail!("after {PATIENCE:?}, {what}: {other:#?}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Installs the controller. The kubeconfig file with which a client has its account.
pub fn install(plane: &ControlPlane) -> Result<PathBuf> {
    let path = xtask::paths::workspace().join("manifests/controller").display().to_string();
    plane.kubectl(&["apply", "--kustomize", &path])?;
    let kinds = ["crd/runs.chaos-agent.dev", "crd/experiments.chaos-agent.dev"];
    plane.await_kinds(&kinds)?;
    let token = plane.unbound_token("chaos-agent", "chaos-controller")?;
    plane.kubeconfig_of("chaos-controller", &token)
}

/// Makes the pod of a node's agent, with what an agent says of a kernel that can do everything.
pub fn agent_of(plane: &ControlPlane, node: &str) -> Result<()> {
    agent_with(plane, node, &Policy::default())
}

/// The same with what its node allows.
pub fn agent_with(plane: &ControlPlane, node: &str, policy: &Policy) -> Result<()> {
    let kernel = KernelFeatures::everything("6.12");
    let said = NodeFeatures::new("0.1.0", policy, kernel).to_annotation()?;
    let name = format!("agent-{node}");
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "chaos-agent", "labels": { "app.kubernetes.io/name": "chaos-agent" },
                      "annotations": { FEATURES: said } },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] } });
    plane.apply(&pod.to_string())?;
    serve(plane, "chaos-agent", &name)
}

/// Says that a pod is ready, as its kubelet would.
pub fn serve(plane: &ControlPlane, namespace: &str, pod: &str) -> Result<()> {
    let ready = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    let patch = [
        "patch",
        "pod",
        pod,
        "--namespace",
        namespace,
        "--subresource=status",
        "--type=merge",
        "--patch",
    ];
    plane.kubectl(&[&patch[..], &[&ready.to_string()]].concat())?;
    Ok(())
}

impl Controller {
    /// Starts a controller with no other rights than those of the manifests.
    pub fn start(account: &Path, identity: &str) -> Result<Self> {
        Self::start_with(account, identity, &[])
    }

    /// The same with more arguments.
    pub fn start_with(account: &Path, identity: &str, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(program::agent()?);
        command
            .args(["controller", "--namespace=chaos-agent", "--identity", identity])
            .arg(format!("--lease={}s", LEASE.as_secs()))
            .args(more)
            .env("KUBECONFIG", account)
            .env("CHAOS_LOG", "warn");
        Ok(Self { process: Process::spawn(command, Place::here())? })
    }

    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(PATIENCE)?;
        Ok(())
    }

    /// Ends it by SIGTERM.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(PATIENCE)?;
        anyhow::ensure!(status.success(), "the controller ended with {status}");
        Ok(())
    }
}

/// An experiment of one step, on pods of `app=web`.
pub fn one_step(pick: Value, lasting: &str) -> Value {
    json!({
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": pick } },
        "steps": [{ "name": "slow",
                    "fault": { "target": "web", "do": "delay 200ms egress tcp to 10.96.0.12", "for": lasting } }],
    })
}
