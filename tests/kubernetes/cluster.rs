//! A cluster of one node with the agent's manifests applied, and what tests do with it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chaos_kube::{FAULTS, PodPhase, STATUS, Status};
use chaos_tests::{
    cgroup::TestCgroup,
    control_plane::ControlPlane,
    job::{Call, Repeated, TcpServe},
    kubelet::{Kubelet, Pod},
    machine::{Claim, Shared},
    tally::Tally,
    victim::Victim,
};
use serde_json::json;

use crate::{agent::Agent, container};

pub const NODE: &str = "node-a";

/// The namespace that allows faults.
pub const SHOP: &str = "shop";

/// How long the agent may take for anything. Far longer than it takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's default.
pub const GRACE: Duration = Duration::from_secs(30);

pub struct Cluster<C = Shared> {
    pub plane: ControlPlane,
    /// With which a client is the agent of [`NODE`].
    agent: PathBuf,
    pub claim: C,
}

impl Cluster {
    /// Starts it, with the namespace [`SHOP`].
    pub fn start() -> Result<Self> {
        Self::start_with(Shared::acquire()?)
    }
}

impl<C: Claim> Cluster<C> {
    /// Starts it on a machine that may be its own.
    pub fn start_with(claim: C) -> Result<Self> {
        let plane = ControlPlane::start()?;
        let base = xtask::paths::workspace().join("manifests/base").display().to_string();
        plane.kubectl(&["apply", "--kustomize", &base])?;
        let agent = plane.agent_on(NODE)?;
        let cluster = Self { plane, agent, claim };
        cluster.namespace(SHOP, true)?;
        Ok(cluster)
    }

    pub fn kubelet(&self) -> Result<Kubelet<'_>> {
        Kubelet::start(&self.plane, &self.claim, NODE)
    }

    /// Starts the agent with no other rights than those of the manifests, in the cluster and on
    /// the machine.
    pub fn agent(&self, grace: Duration) -> Result<Agent> {
        let capabilities = container::of_manifest()?;
        self.agent_with(grace, |command| container::confine(command, &capabilities))
    }

    /// Starts the agent as root with every right on the machine, but for what `adapt` does to its
    /// command line. In the cluster it has those of the manifests.
    pub fn agent_with(&self, grace: Duration, adapt: impl FnOnce(&mut Command)) -> Result<Agent> {
        let cgroup = TestCgroup::new(&self.claim, "agent")?;
        Agent::start(&self.agent, NODE, grace, cgroup, adapt)
    }

    pub fn namespace(&self, name: &str, is_enabled: bool) -> Result<()> {
        let labels =
            if is_enabled { json!({ "chaos-agent.dev/enabled": "true" }) } else { json!({}) };
        let metadata = json!({ "name": name, "labels": labels });
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        self.plane.apply(&object.to_string())?;
        Ok(())
    }

    /// Writes the fault annotation, or removes it.
    pub fn annotate(&self, pod: &Pod, faults: Option<&str>) -> Result<()> {
        let change = faults.map_or(format!("{FAULTS}-"), |text| format!("{FAULTS}={text}"));
        let Pod { namespace, name, .. } = pod;
        self.plane.kubectl(&[
            "annotate",
            "pod",
            name,
            "--namespace",
            namespace,
            "--overwrite",
            &change,
        ])?;
        Ok(())
    }

    /// Writes the fault annotation and waits until the agent says that it is in force.
    pub fn arm(&self, pod: &Pod, faults: &str) -> Result<Status> {
        self.annotate(pod, Some(faults))?;
        self.await_status(pod, |status| status.phase == PodPhase::Armed)
    }

    /// What the agent has written on the pod.
    pub fn status(&self, pod: &Pod) -> Result<Option<Status>> {
        let Pod { namespace, name, .. } = pod;
        let output =
            format!("--output=jsonpath={{.metadata.annotations.{}}}", STATUS.replace('.', "\\."));
        let text = self.plane.kubectl(&["get", "pod", name, "--namespace", namespace, &output])?;
        if text.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&text).map(Some).with_context(|| format!("status {text:?}"))
    }

    /// Waits until the agent says what is expected.
    pub fn await_status(&self, pod: &Pod, expected: impl Fn(&Status) -> bool) -> Result<Status> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let status = self.status(pod)?;
            match status {
                Some(status) if expected(&status) => return Ok(status),
                other if Instant::now() > give_up => {
                    bail!("after {PATIENCE:?} the agent says of {}: {other:#?}", pod.name)
                }
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// A server in the pod's network, outside of its cgroup, on 127.0.0.1.
pub struct Server {
    _victim: Victim<TcpServe>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(pod: &Pod) -> Result<Self> {
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        let victim = Victim::start(TcpServe { bind }, pod.network())?;
        Ok(Self { address: victim.address(), _victim: victim })
    }

    /// Connects `count` times from a container.
    pub fn connect(&self, pod: &Pod, container: &str, count: u64) -> Result<Tally> {
        let timeout = Duration::from_secs(10);
        let connect = Repeated::Connect { to: self.address, nonblocking: false, timeout };
        Ok(Victim::run(Call::new(connect, count), pod.place(container))?.total())
    }

    /// A fault that refuses some of the connects to this server.
    pub fn refuse(&self, chance: &str) -> String {
        format!("fail connect with ECONNREFUSED {chance} to port {}", self.address.port())
    }

    /// Waits until a container's connects go through; fails when they do not.
    pub fn await_healthy(&self, pod: &Pod, container: &str, within: Duration) -> Result<()> {
        let give_up = Instant::now() + within;
        while self.connect(pod, container, 20)?.failed() > 0 {
            if Instant::now() > give_up {
                bail!("{} is still broken after {within:?}", pod.name);
            }
        }
        Ok(())
    }
}
