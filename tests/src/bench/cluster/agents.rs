//! Runs the agents of all nodes in one process: the real loop of each, with a token of its own, over an engine without a
//! kernel.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use chaos_api::{Engine as _, Policy};
use chaos_arm::{
    Handle, Keeper,
    fake::{FakeEngine, Shared},
};
use chaos_kube::{Options, run_with};
use chaos_tests::clock::boottime_ns;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use tokio::{
    sync::watch,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use super::objects::{AGENTS, agent_on};

/// Those of an agent that was told nothing else.
const LEASE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(30);

/// So often the clocks of the engines are set.
const CLOCK: Duration = Duration::from_millis(20);

/// Running agents. Dropping them ends them.
pub struct Agents {
    handles: Vec<Handle<FakeEngine>>,
    // After the loops, which end when told so.
    keepers: Vec<Keeper<FakeEngine>>,
    stop: Option<watch::Sender<bool>>,
    loops: Option<JoinHandle<Result<()>>>,
}

impl Agents {
    /// Starts an agent for each node, with this kubeconfig file.
    pub fn start(kubeconfigs: BTreeMap<String, PathBuf>, world: &Shared) -> Result<Self> {
        set_clock(world);
        let keepers = kubeconfigs
            .keys()
            .map(|_| Keeper::start(FakeEngine::new(world.clone()), LEASE))
            .collect::<std::io::Result<Vec<_>>>()?;
        let handles: Vec<_> = keepers.iter().map(Keeper::handle).collect();
        let (stop, stopped) = watch::channel(false);
        let (of_loops, world) = (handles.clone(), world.clone());
        let loops = thread::Builder::new()
            .name("agents".to_owned())
            .spawn(move || run(kubeconfigs, of_loops, &world, stopped))?;
        Ok(Self { handles, keepers, stop: Some(stop), loops: Some(loops) })
    }

    /// How many pods are armed now.
    pub async fn armed(&self) -> Result<usize> {
        let mut armed = 0;
        for handle in &self.handles {
            armed += handle.with(|engine| engine.ids().count()).await?;
        }
        Ok(armed)
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(loops) = self.loops.take()
            && let Err(error) = loops.join().unwrap_or_else(|_| Err(anyhow!("they panicked")))
        {
            eprintln!("the agents ended: {error:#}");
        }
        self.keepers.clear();
    }
}

fn run(
    kubeconfigs: BTreeMap<String, PathBuf>,
    handles: Vec<Handle<FakeEngine>>,
    world: &Shared,
    stopped: watch::Receiver<bool>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut loops = JoinSet::new();
        for ((node, kubeconfig), handle) in kubeconfigs.into_iter().zip(handles) {
            let client = client(&kubeconfig).await?;
            let options = Options {
                pod_name: Some(agent_on(&node)),
                node_name: node,
                node_ips: Vec::new(),
                policy: Policy::default(),
                grace: GRACE,
                namespace: AGENTS.to_owned(),
            };
            loops.spawn_local(run_with(client, handle, options, stopped.clone()));
        }
        let ended = async {
            while let Some(ended) = loops.join_next().await {
                ended.context("an agent panicked")??;
            }
            Ok(())
        };
        let clock = async {
            loop {
                set_clock(world);
                sleep(CLOCK).await;
            }
        };
        tokio::select! {
            ended = ended => ended,
            never = clock => never,
        }
    })
}

fn set_clock(world: &Shared) {
    let mut world = world.lock();
    (world.now, world.wall) = (boottime_ns(), Timestamp::now());
}

/// A client of the API server.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig file")?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("make a client")
}
