//! The pods that the tests look at.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use chaos_kube::{PodPhase, Status, digest};
use chaos_tests::{
    control_plane::Identity,
    job::{Job, Kill, KillSignal, TcpServe, UdpEcho},
    node::{Deployment, Node, Pod, Shop},
    program,
    requirements::Release,
};
use libtest_mimic::Completion;

/// Where the store takes connections, and echoes datagrams.
pub const TCP: u16 = 8080;
pub const ECHO: u16 = 9000;

/// The containers of each pod.
pub const MAIN: &str = "main";
pub const SIDE: &str = "side";

/// One namespace, three Deployments.
pub struct Scene {
    pub node: Arc<Node>,
    pub shop: Shop,
    /// The pod that is broken.
    pub till: Pod,
    /// One like it that is left alone.
    pub neighbour: Pod,
    /// The pod that both talk to.
    pub store: Pod,
}

impl Scene {
    pub fn set(node: Arc<Node>) -> Result<Self> {
        let shop = Shop::open(&node, "shop")?;
        let tcp = || Job::from(TcpServe { bind: any(TCP) });
        let echo = || Job::from(UdpEcho { bind: any(ECHO) });
        let deploy = &|name| {
            let containers = vec![(MAIN, tcp()), (SIDE, echo())];
            shop.deploy(&Deployment::new(name, containers))
        };
        let [till, neighbour, store] = thread::scope(|scope| {
            ["till", "neighbour", "store"]
                .map(|name| scope.spawn(move || deploy(name)))
                .map(|deploying| deploying.join().expect("deploying does not panic"))
        });
        let (till, neighbour, store) = (till?, neighbour?, store?);
        Ok(Self { node, shop, till, neighbour, store })
    }

    /// An address of the store.
    pub fn store(&self, port: u16) -> SocketAddr {
        (self.store.address, port).into()
    }

    /// Runs `kubectl chaos` as administrator in the namespace of the pods.
    pub fn chaos(&self, words: &[&str]) -> Result<()> {
        let plane = self.node.plane();
        let mut plugin = plane.command(program::plugin()?);
        plugin.env("KUBECONFIG", plane.kubeconfig(Identity::Admin));
        let output = plugin.args(["--namespace", "shop"]).args(words).output();
        let output = output.context("start kubectl-chaos")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl chaos {}: {message}", words.join(" "));
        Ok(())
    }

    /// Annotates the till and waits until the agent has an answer to just that.
    pub fn break_till(&self, faults: &str) -> Result<Status> {
        break_pod(&self.till, faults)
    }

    /// Lets a test pass over what the agent refused, on a kernel older than `since`.
    pub fn excuse(&self, since: Release, refused: &Status) -> Result<Completion> {
        let running = self.node.release()?;
        ensure!(running < since, "refused on {running}: {refused:#?}");
        self.heal_till()?;
        Ok(Completion::ignored_with(refused.messages.join(" ")))
    }

    /// Takes the till's annotation away and waits until the agent says so, with its last counts.
    pub fn heal_till(&self) -> Result<Status> {
        heal_pod(&self.till)
    }
}

/// Annotates a pod and waits until the agent has an answer to just that.
pub fn break_pod(pod: &Pod, faults: &str) -> Result<Status> {
    pod.annotate(Some(faults))?;
    let observed = digest(faults);
    pod.await_status(|status| {
        status.observed.as_ref() == Some(&observed)
            && matches!(status.phase, PodPhase::Armed | PodPhase::Refused)
    })
}

/// Annotates a pod and waits until the agent has armed that or has said what it lacks.
pub fn try_break(pod: &Pod, faults: &str) -> Result<Status> {
    pod.annotate(Some(faults))?;
    let observed = digest(faults);
    pod.await_status(|status| {
        let is_answer = status.phase == PodPhase::Armed || !status.messages.is_empty();
        is_answer && status.observed.as_ref() == Some(&observed)
    })
}

/// Takes a pod's annotation away and waits until the agent says so, with its last counts.
pub fn heal_pod(pod: &Pod) -> Result<Status> {
    pod.annotate(None)?;
    pod.await_status(|status| status.phase == PodPhase::Ended && status.observed.is_none())
}

/// A pod that may send signals to the agent.
pub fn hangman(scene: &Scene) -> Result<Pod> {
    let containers = vec![(MAIN, Job::from(TcpServe { bind: any(TCP) }))];
    scene.shop.deploy(&Deployment::new("hangman", containers).privileged())
}

/// A signal to the agent of the node.
pub fn to_agent(signal: KillSignal) -> Kill {
    Kill { name: "chaos-agent".to_owned(), signal }
}

/// Injections of all faults.
pub fn injected(status: &Status) -> u64 {
    status.faults.iter().map(|fault| fault.counts.injected).sum()
}

/// Whether something was injected.
pub fn is_hit(status: &Status) -> bool {
    injected(status) > 0
}

/// A port of every address of a pod.
pub fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
