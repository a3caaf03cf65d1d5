//! The pods that the tests look at.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use anyhow::{Result, ensure};
use chaos_agent::kube::{PodPhase, Status};
use chaos_tests::job::{Job, TcpServe, UdpEcho};
use chaos_tests::node::{Deployment, Node, Pod, Shop};
use chaos_tests::requirements::Release;
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
            shop.deploy(&Deployment { name, containers, is_privileged: false })
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

    /// Annotates the till and waits until the agent has an answer to just that.
    pub fn break_till(&self, faults: &str) -> Result<Status> {
        self.till.annotate(Some(faults))?;
        let observed = chaos_agent::kube::digest(faults);
        self.till.await_status(|status| {
            status.observed.as_deref() == Some(&*observed)
                && matches!(status.phase, PodPhase::Armed | PodPhase::Refused)
        })
    }

    /// Lets a test pass over what the agent refused, on a kernel older than `since`.
    pub fn excuse(&self, since: Release, refused: &Status) -> Result<Completion> {
        let running = self.node.release()?;
        ensure!(running < since, "refused on {running}: {refused:#?}");
        self.heal_till()?;
        Ok(Completion::ignored_with(refused.messages.join(" ")))
    }

    /// Takes the annotation away and waits until the agent says so, with its last counts.
    pub fn heal_till(&self) -> Result<Status> {
        self.till.annotate(None)?;
        self.till
            .await_status(|status| status.phase == PodPhase::Ended && status.observed.is_none())
    }
}

/// A port of every address of a pod.
pub fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
