//! What a run on many pods of many nodes costs: a real API server and a real controller, and agents that arm nothing.

mod agents;
mod meter;
mod objects;

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_api::kinds::{Run, RunPhase, RunStatus};
use chaos_arm::fake::Shared;
use chaos_kube::{FEATURES, GUARD, HALT};
use chaos_tests::{
    control_plane::{ControlPlane, Identity},
    process::{Place, Process},
    program,
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use xtask::figures::cluster::{Figure, Measured};

use self::{
    agents::{Agents, client},
    meter::Meter,
    objects::{AGENTS, SHOP, make_nodes, make_pods},
};
use crate::table::machine;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often something that takes long is looked at, and something that does not.
const SLOW: Duration = Duration::from_millis(200);
const FAST: Duration = Duration::from_millis(10);

/// Events a second of each fault: all counts are news whenever they are written.
const RATE: u64 = 10;

/// How large the cluster is, and how long counts are written.
pub struct Size {
    pub nodes: usize,
    pub pods: usize,
    pub steady: Duration,
}

/// Measures one run on all pods. `profile` is that of cargo.
pub fn measure(size: &Size, profile: &str) -> Result<Measured> {
    let plane = ControlPlane::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(play(&plane, size, profile))
}

async fn play(plane: &ControlPlane, size: &Size, profile: &str) -> Result<Measured> {
    let &Size { nodes, pods, steady } = size;
    let account = install(plane)?;
    let admin = client(plane.kubeconfig(Identity::Admin)).await?;
    let world = Shared::default();
    world.lock().rate = RATE;
    progress(&format!("{nodes} nodes, {pods} pods"));
    let tokens = make_nodes(&admin, nodes).await?;
    make_pods(&admin, pods, nodes, &world).await?;
    let kubeconfigs = tokens.into_iter().map(|(node, token)| {
        let kubeconfig = plane.kubeconfig_of(&node, &token)?;
        Ok((node, kubeconfig))
    });
    let kubeconfigs = kubeconfigs.collect::<Result<_>>()?;
    progress("agents");
    let agents = Agents::start(kubeconfigs, &world)?;
    await_features(&admin, nodes).await?;
    progress("the controller");
    let controller = Controller::start(&account)?;
    await_leader(&admin).await?;
    let mut meter = Meter::start(plane, controller.process.pid())?;
    let scene = Scene { admin, pods };

    progress("planning");
    let planned = scene.plan().await?;
    meter.phase("planning")?;
    progress("arming");
    let arming = scene.arm(&agents).await?;
    meter.phase("arming")?;
    progress("counting");
    sleep(steady).await;
    let longest_status = arming.longest_status.max(scene.status().await?.1);
    meter.phase("armed, counts change")?;
    progress("the lever");
    let lever = scene.pull_lever(&agents).await?;
    let status = scene.end().await?;
    meter.phase("halting")?;
    ensure!(status.ledger.injected > 0, "nothing was counted: {:?}", status.ledger);

    let figure = |what: &str, value: f64, unit: &str, most: Option<f64>| Figure {
        what: what.to_owned(),
        value,
        unit: unit.to_owned(),
        most,
    };
    let longest = controller.longest_decision()?;
    let results = vec![
        figure("to select and plan, as a Run of mode Plan", planned.as_secs_f64(), "s", Some(3.0)),
        figure("the longest decision of the controller's loop", longest * 1e3, "ms", None),
        figure("until the last pod is armed", arming.armed.as_secs_f64(), "s", Some(30.0)),
        figure("until the Run says so", arming.known.as_secs_f64(), "s", None),
        figure(
            "annotations that the controller writes meanwhile",
            pods as f64 / arming.armed.as_secs_f64(),
            "/s",
            Some(300.0),
        ),
        figure("the most memory of the controller", meter.peak()?, "MiB", Some(150.0)),
        figure("the longest status of the Run", longest_status as f64 / 1024.0, "KiB", Some(32.0)),
        figure("from the lever to the last fault off", lever.as_secs_f64(), "s", Some(2.0)),
    ];
    Ok(Measured {
        machine: machine(),
        profile: profile.to_owned(),
        nodes,
        pods,
        results,
        phases: meter.phases,
    })
}

/// Applies the manifests. The kubeconfig file of the controller's account.
fn install(plane: &ControlPlane) -> Result<std::path::PathBuf> {
    for name in ["base", "controller"] {
        let path = xtask::paths::workspace().join("manifests").join(name).display().to_string();
        plane.kubectl(&["apply", "--kustomize", &path])?;
    }
    let kinds = ["crd/runs.chaos-agent.dev", "crd/experiments.chaos-agent.dev"];
    plane.await_kinds(&kinds)?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": SHOP, "labels": { "chaos-agent.dev/enabled": "true" } } });
    plane.apply(&namespace.to_string())?;
    let token = plane.unbound_token(AGENTS, "chaos-controller")?;
    plane.kubeconfig_of("chaos-controller", &token)
}

/// The real controller, which says how long it thinks.
struct Controller {
    process: Process,
    log: TempDir,
}

impl Controller {
    fn start(account: &Path) -> Result<Self> {
        let log = tempfile::tempdir()?;
        let mut command = Command::new(program::agent()?);
        command
            .args(["controller", "--namespace", AGENTS, "--identity=bench"])
            .env("KUBECONFIG", account)
            .env("CHAOS_LOG", "warn,chaos_controller=debug")
            .stderr(File::create(log.path().join("log"))?);
        Ok(Self { process: Process::spawn(command, Place::here())?, log })
    }

    /// Seconds, by its log.
    fn longest_decision(&self) -> Result<f64> {
        let log = fs::read_to_string(self.log.path().join("log"))?;
        let decisions = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once("decided_us=")?;
            rest.split(' ').next()?.parse::<f64>().ok()
        });
        let longest = decisions.fold(f64::NAN, f64::max);
        ensure!(longest.is_finite(), "the controller has said nothing of its decisions:\n{log}");
        Ok(longest / 1e6)
    }
}

/// What came of arming.
struct Arming {
    /// Until the last engine had its pods.
    armed: Duration,
    known: Duration,
    /// Bytes.
    longest_status: usize,
}

/// A cluster with everything running.
struct Scene {
    admin: Client,
    pods: usize,
}

impl Scene {
    fn runs(&self) -> Api<Run> {
        Api::namespaced(self.admin.clone(), SHOP)
    }

    async fn make(&self, name: &str, mode: &str) -> Result<()> {
        let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
            "metadata": { "name": name }, "spec": { "mode": mode, "inline": everything() } });
        let run = serde_json::from_value(run).context("a run")?;
        self.runs().create(&PostParams::default(), &run).await?;
        Ok(())
    }

    /// How long it takes to plan for all pods.
    async fn plan(&self) -> Result<Duration> {
        let began = Instant::now();
        self.make("plan", "Plan").await?;
        let status = self.await_run("plan", |status| status.phase == RunPhase::Finished).await?;
        ensure!(status.targets.selected as usize == self.pods, "{status:#?}");
        Ok(began.elapsed())
    }

    async fn arm(&self, agents: &Agents) -> Result<Arming> {
        let began = Instant::now();
        self.make("arm", "Armed").await?;
        let (mut armed, mut longest_status) = (None, 0);
        loop {
            ensure!(began.elapsed() < PATIENCE, "{} pods are armed", agents.armed().await?);
            if armed.is_none() && agents.armed().await? == self.pods {
                armed = Some(began.elapsed());
            }
            let (status, length) = self.status().await?;
            longest_status = longest_status.max(length);
            if let Some(status) = status {
                ensure!(status.phase != RunPhase::Finished, "the run has ended: {status:#?}");
                if let Some(armed) = armed
                    && status.targets.armed as usize == self.pods
                {
                    return Ok(Arming { armed, known: began.elapsed(), longest_status });
                }
            }
            sleep(SLOW).await;
        }
    }

    /// The status of the run that arms, and how long it is.
    async fn status(&self) -> Result<(Option<RunStatus>, usize)> {
        let status = self.runs().get("arm").await?.status;
        let length = serde_json::to_vec(&status)?.len();
        Ok((status, length))
    }

    /// How long it takes from the lever until nothing is armed.
    async fn pull_lever(&self, agents: &Agents) -> Result<Duration> {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), AGENTS);
        let halt = json!({ "metadata": { "annotations": { HALT: "bench" } } });
        let began = Instant::now();
        leases.patch(GUARD, &PatchParams::default(), &Patch::Merge(halt)).await?;
        while agents.armed().await? > 0 {
            ensure!(began.elapsed() < PATIENCE, "pods are still armed");
            sleep(FAST).await;
        }
        Ok(began.elapsed())
    }

    async fn end(&self) -> Result<RunStatus> {
        self.await_run("arm", |status| status.phase == RunPhase::Finished).await
    }

    async fn await_run(
        &self,
        name: &str,
        expected: impl Fn(&RunStatus) -> bool,
    ) -> Result<RunStatus> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.runs().get(name).await?.status {
                Some(status) if expected(&status) => return Ok(status),
                other if Instant::now() > give_up => bail!("after {PATIENCE:?}: {other:#?}"),
                Some(_) | None => sleep(FAST).await,
            }
        }
    }
}

/// An experiment on all pods.
fn everything() -> Value {
    json!({
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": "all" } },
        "steps": [{ "name": "cut", "timeout": "15m",
                    "fault": { "target": "web", "do": "drop 10% egress tcp to 203.0.113.9 port 5432", "for": "30m" } }],
    })
}

/// Waits until each agent has said what its kernel can do.
async fn await_features(admin: &Client, nodes: usize) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), AGENTS);
    let give_up = Instant::now() + PATIENCE;
    loop {
        let all = pods.list(&ListParams::default()).await?;
        let told = all.iter().filter(|pod| pod.annotations().contains_key(FEATURES)).count();
        if told == nodes {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "{told} of {nodes} agents have said what they can do");
        sleep(SLOW).await;
    }
}

/// Waits until the controller leads and has renewed its Lease: agents arm nothing guarded before they have seen it move.
async fn await_leader(admin: &Client) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), AGENTS);
    let (give_up, mut first) = (Instant::now() + PATIENCE, None);
    loop {
        let renewed = leases.get_opt(GUARD).await?.and_then(|lease| lease.spec?.renew_time);
        if first.is_some() && renewed != first {
            return Ok(());
        }
        first = renewed;
        ensure!(Instant::now() < give_up, "nobody leads, or renews the Lease");
        sleep(SLOW).await;
    }
}

fn progress(what: &str) {
    eprintln!("measuring: {what}");
}
