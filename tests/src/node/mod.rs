//! A real Kubernetes node: a virtual machine of the lab with kubelet, kube-proxy, containerd and runc, in one
//! private network namespace with the control plane.
//!
//! | address | whose |
//! |---|---|
//! | 10.0.2.2 | the host's end, with the API server on port 443 |
//! | 10.96.0.1 | the same, as the Service `kubernetes`, also before kube-proxy translates it |
//! | 10.96.0.0/16 | other Services, which kube-proxy translates on the node |
//! | 10.0.2.15 | the node |
//! | 10.244.0.0/24 | its pods |
//!
//! `cargo xtask` prepares the machine and names it in [`xtask::node::KIT_VARIABLE`].

mod files;
mod network;
mod shop;

use std::{
    fmt::Display,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::json;
pub use shop::{Deployment, Exec, Pod, Shop};
use xtask::node::NodeKit;

use crate::{
    control_plane::{
        ControlPlane, NODE,
        servers::{Server, Servers},
    },
    netns::TestNetns,
    overlay::Overlay,
    requirements::Release,
};

/// How long the machine may take until its kubelet says that it is ready: some 20 seconds on a
/// machine with two idle cores.
const BOOT_PATIENCE: Duration = Duration::from_secs(240);

/// How long anything else may take that is asked of the cluster: an agent that was killed is started anew
/// after 10 s, and then after 20, 40, and so on (the kubelet's back-off), on a machine that is emulated.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// A running node and its control plane. Dropping it ends both.
#[derive(Debug)]
pub struct Node {
    // The machine ends before the servers that it talks to.
    _machine: Servers,
    plane: ControlPlane,
    kernel: String,
}

impl Node {
    /// Boots the node of `kit` and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing, or when the machine or a server ends or takes too long, with the
    /// end of its log.
    pub fn start(kit: &NodeKit) -> Result<Self> {
        let netns = network::make()?;
        let mut plane = ControlPlane::launch_for_node(netns.try_clone()?)?;
        files::write(kit, &plane)?;
        let machine = boot(kit, &netns)?;
        plane.control()?;
        machine
            .wait_until_ready(BOOT_PATIENCE, || is_ready(&plane))
            .with_context(|| format!("the node; its kernel's log is {}", kit.log.display()))?;
        Ok(Self { _machine: machine, plane, kernel: kit.kernel.clone() })
    }

    /// The cluster's control plane.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The name of its kernel in the lab.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The release of its kernel.
    pub fn release(&self) -> Result<Release> {
        let release = "get node node --output=jsonpath={.status.nodeInfo.kernelVersion}";
        let release = self.kubectl(release)?;
        Release::parse(&release).with_context(|| format!("kernel release {release:?}"))
    }

    /// Applies the manifests of this checkout as they are and waits until the agent is ready.
    pub fn deploy_agent(&self) -> Result<()> {
        self.apply_kustomization(&xtask::paths::workspace().join("manifests/base"))
    }

    /// The same with one of the components in `manifests/`.
    pub fn deploy_agent_with(&self, component: &str) -> Result<()> {
        let overlay = Overlay::on_base(
            |manifests| json!({ "components": [format!("{manifests}/{component}")] }),
        )?;
        self.apply_kustomization(overlay.path())
    }

    fn apply_kustomization(&self, dir: &Path) -> Result<()> {
        self.plane.kubectl(&["apply", "--kustomize", &dir.display().to_string()])?;
        self.await_agent()
    }

    /// Waits until the agent is ready as it was last applied.
    pub fn await_agent(&self) -> Result<()> {
        let patience = PATIENCE.as_secs();
        self.kubectl(&format!(
            "rollout status daemonset/chaos-agent --namespace chaos-agent --timeout {patience}s"
        ))?;
        Ok(())
    }

    /// Deploys CoreDNS, if it is not there yet, and waits until it answers: from then on Services have names.
    pub fn deploy_dns(&self) -> Result<()> {
        let manifest = xtask::paths::workspace().join("tests/node/coredns/dns.yaml");
        self.plane.kubectl(&["apply", "--filename", &manifest.display().to_string()])?;
        let patience = PATIENCE.as_secs();
        self.kubectl(&format!(
            "rollout status deployment/coredns --namespace kube-system --timeout {patience}s"
        ))?;
        Ok(())
    }

    /// Runs kubectl with `arguments`, words between spaces.
    pub fn kubectl(&self, arguments: &str) -> Result<String> {
        self.plane.kubectl(&arguments.split(' ').collect::<Vec<_>>())
    }

    /// A log of one of the node's daemons, `kubelet`, `kube-proxy` or `containerd`.
    pub fn daemon_log(&self, daemon: &str) -> Result<String> {
        self.kubectl(&format!("get --raw /api/v1/nodes/{NODE}/proxy/logs/{daemon}.log"))
    }

    /// Polls `look` until it gives something.
    fn await_some<T>(&self, what: impl Display, look: impl Fn() -> Result<Option<T>>) -> Result<T> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() > give_up {
                bail!("{what}: not within {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn is_ready(plane: &ControlPlane) -> bool {
    let condition = "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    plane.kubectl(&["get", "node", NODE, condition]).is_ok_and(|status| status == "True")
}

fn boot(kit: &NodeKit, netns: &TestNetns) -> Result<Servers> {
    let [program, arguments @ ..] = kit.qemu.as_slice() else { bail!("the kit has no command") };
    let mut command = Command::new(program);
    command.args(arguments).args(network::QEMU);
    let log = kit.dir.join("node.log");
    Servers::start(vec![Server { name: "the node", command, log }], Some(netns))
}
