//! A pod of a real API server, broken by its annotation. The kubelet is played; the agent is the
//! real one, as in a DaemonSet.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chaos_kube::{ENABLED, FAULTS, PodPhase, STATUS, Status};
use chaos_tests::{
    cgroup::TestCgroup,
    control_plane::ControlPlane,
    job::TcpServe,
    kubelet::{Kubelet, Pod, PodSpec},
    machine::Shared,
    netns::{End, TestNetns},
    process::{Place, Process},
    victim::Victim,
};

use crate::{
    print,
    traffic::{Route, Traffic},
};

const NODE: &str = "node-a";
const NAMESPACE: &str = "shop";
const POD: &str = "till";

/// How long an answer on the pod may take: the agent writes counts every few seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the pod was broken and healed as its annotation said, and its status says so.
pub fn run(agent: &Path) -> Result<bool> {
    print::progress("starting etcd and kube-apiserver");
    let shared = Shared::acquire()?;
    let plane = ControlPlane::start()?;
    let manifests = xtask::paths::workspace().join("manifests/base");
    plane.kubectl(&["apply", "--kustomize", &manifests.display().to_string()])?;
    plane.kubectl(&["create", "namespace", NAMESPACE])?;
    let kubelet = Kubelet::start(&plane, &shared, NODE)?;
    let shop = Shop::open(&plane, &kubelet, &shared)?;
    let run = tempfile::tempdir().context("make a directory for the agent's socket")?;
    let _agent = serve_node(agent, &plane, run.path())?;
    print::cluster(NODE, &format!("{NAMESPACE}/{POD}"));

    let mut held = shop.works()?;
    shop.kubectl(&format!("label namespace {NAMESPACE} {ENABLED}=true"))?;
    for (fault, traffic) in [
        ("drop 30% egress udp".to_owned(), Traffic::Datagrams),
        (
            format!("fail connect with ECONNREFUSED 50% to port {}", shop.server.address().port()),
            Traffic::Connects,
        ),
    ] {
        shop.annotate(&format!("{FAULTS}={fault}"))?;
        shop.status(|status| status.phase == PodPhase::Armed && says(status, &fault))?;
        let seen = traffic.start(shop.route())?.finish()?;
        print::victim("pod", &seen);
        let status = shop.status(|status| injected(status) >= seen.broken)?;
        print::status(&status);
        held &= seen.broken > 0 && injected(&status) == seen.broken;
    }
    shop.annotate(&format!("{FAULTS}=drop 30% egres udp"))?;
    print::status(&shop.status(|status| status.phase == PodPhase::Refused)?);
    shop.annotate(&format!("{FAULTS}-"))?;
    print::status(&shop.status(|status| status.phase == PodPhase::Ended)?);
    held &= shop.works()?;
    Ok(held)
}

fn says(status: &Status, fault: &str) -> bool {
    status.faults.iter().any(|said| said.fault == fault)
}

fn injected(status: &Status) -> u64 {
    status.faults.iter().map(|fault| fault.counts.injected).sum()
}

/// Starts the agent as the DaemonSet does, with its control socket in `run`.
fn serve_node(agent: &Path, plane: &ControlPlane, run: &Path) -> Result<Process> {
    let mut command = Command::new(agent);
    command
        .arg("agent")
        .arg("--socket")
        .arg(run.join("agent.sock"))
        .env("CHAOS_LOG", "warn")
        .env("NODE_NAME", NODE)
        .env("KUBECONFIG", plane.agent_on(NODE)?);
    Process::spawn(command, Place::here())
}

/// A pod, and the server that it talks to.
struct Shop<'a> {
    plane: &'a ControlPlane,
    server: Victim<TcpServe>,
    pod: Pod,
    server_netns: TestNetns,
    server_end: End,
    server_cgroup: TestCgroup,
}

impl<'a> Shop<'a> {
    fn open(plane: &'a ControlPlane, kubelet: &Kubelet<'_>, shared: &Shared) -> Result<Self> {
        let pod = kubelet.run(&PodSpec::new(NAMESPACE, POD))?;
        let server_netns = TestNetns::new()?;
        let (_, server_end) = pod.netns.veth(&server_netns, 0)?;
        let server_cgroup = TestCgroup::new(shared, "server")?;
        let place = Place::here().cgroup(&server_cgroup).netns(&server_netns);
        let server = Victim::start(TcpServe { bind: server_end.socket_v4(0) }, place)?;
        Ok(Self { plane, server, pod, server_netns, server_end, server_cgroup })
    }

    fn route(&self) -> Route<'_> {
        Route {
            client: self.pod.place("main"),
            server: Place::here().cgroup(&self.server_cgroup).netns(&self.server_netns),
            address: self.server_end.socket_v4(0),
            tcp: self.server.address(),
        }
    }

    fn works(&self) -> Result<bool> {
        print::healthy();
        let mut fine = true;
        for traffic in [Traffic::Datagrams, Traffic::Connects] {
            let seen = traffic.start(self.route())?.finish()?;
            print::victim("pod", &seen);
            fine &= seen.broken == 0;
        }
        Ok(fine)
    }

    fn annotate(&self, annotation: &str) -> Result<()> {
        let arguments =
            ["annotate", "pod", POD, "--namespace", NAMESPACE, "--overwrite", annotation];
        print::kubectl(&format!("annotate pod {POD} --namespace {NAMESPACE} '{annotation}'"));
        self.plane.kubectl(&arguments)?;
        Ok(())
    }

    fn kubectl(&self, arguments: &str) -> Result<()> {
        print::kubectl(arguments);
        self.plane.kubectl(&arguments.split(' ').collect::<Vec<_>>())?;
        Ok(())
    }

    /// The agent's answer on the pod, as soon as it is `wanted`.
    fn status(&self, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let path =
            format!("--output=jsonpath={{.metadata.annotations.{}}}", STATUS.replace('.', "\\."));
        let get = ["get", "pod", POD, "--namespace", NAMESPACE, &path];
        let give_up = Instant::now() + PATIENCE;
        loop {
            let text = self.plane.kubectl(&get)?;
            if let Ok(status) = serde_json::from_str(&text)
                && wanted(&status)
            {
                return Ok(status);
            }
            if Instant::now() > give_up {
                bail!("the agent's answer on the pod is {text:?} after {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
