//! The agent of a node, inside the test.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use chaos_agent::arm::{Armory, Keeper};
use chaos_agent::kernel::find_features;
use chaos_agent::kube::{Options, run_with};
use chaos_agent::plan::Terms;
use chaos_agent::target::CgroupRoot;
use chaos_tests::cgroup::TestCgroup;
use chaos_tests::machine::Claim;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The agent's default.
const LEASE: Duration = Duration::from_secs(5);

/// A running agent. Dropping it is like SIGKILL: its links are closed, and nobody is told.
pub struct Agent {
    shutdown: watch::Sender<bool>,
    task: JoinHandle<Result<(), chaos_agent::kube::KubeError>>,
    // In this order: the loop ends before what it works with.
    runtime: Runtime,
    _keeper: Keeper,
}

impl Agent {
    /// Starts the agent of `node` as whoever the kubeconfig file says.
    pub fn start(
        claim: &impl Claim,
        kubeconfig: &Path,
        node: &str,
        grace: Duration,
    ) -> Result<Self> {
        let probe = TestCgroup::new(claim, "probe")?;
        let probe = std::fs::File::open(probe.path()).context("open the probe cgroup")?;
        let features = find_features(Ok(probe.as_fd()));
        let armory = Armory::new(CgroupRoot::discover()?, features, LEASE);
        let keeper = Keeper::start(armory, LEASE).context("start the keeper")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let client = runtime.block_on(client(kubeconfig))?;
        let options = Options {
            node_name: node.to_owned(),
            node_ips: vec!["192.0.2.7".parse()?],
            terms: Terms::default(),
            grace,
        };
        let (shutdown, told) = watch::channel(false);
        let task = runtime.spawn(run_with(client, keeper.handle(), options, told));
        Ok(Self { shutdown, task, runtime, _keeper: keeper })
    }

    /// Ends it as SIGTERM does.
    pub fn stop(self) -> Result<()> {
        self.shutdown.send_replace(true);
        Ok(self.runtime.block_on(self.task)??)
    }

    /// Ends it as SIGKILL does.
    pub fn die(self) {
        self.task.abort();
        while !self.task.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A client of the API server.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig file")?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("make a client")
}
