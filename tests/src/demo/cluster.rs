//! Pods of Deployments on a real node, with the agent from its manifests: one is broken by its
//! annotation and healed, another one watched beside it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use chaos_kube::{FAULTS, PodPhase, Status, digest};
use chaos_tests::{
    job::{Call, Job, Repeated, TcpServe, UdpSend, UdpSink},
    node::{Deployment, Node, Pod, Shop},
};
use xtask::node::NodeKit;

use crate::{print, traffic::Seen};

const NAMESPACE: &str = "shop";
const CONTAINER: &str = "main";

const TCP: u16 = 5432;
const UDP: u16 = 9100;

const PAUSE: Duration = Duration::from_millis(1);
const DATAGRAMS: u64 = 500;
const CALLS: u64 = 200;
/// Of a connect that gets no answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a pod does.
#[derive(Clone, Copy)]
enum Traffic {
    Datagrams,
    Connects,
    Directories,
}

/// Whether the pod was broken and healed as its annotation said, its neighbour saw nothing of it,
/// and the status says so.
pub fn run() -> Result<bool> {
    let kit = NodeKit::from_environment()?;
    print::progress(&format!("booting {} as a Kubernetes node", kit.kernel));
    let start = Instant::now();
    let node = Arc::new(Node::start(&kit)?);
    print::progress("the node is ready; applying manifests/base");
    node.deploy_agent()?;
    print::progress("the agent is ready; deploying till, neighbour and store");
    let shop = Shop::open(&node, NAMESPACE)?;
    let deploy = |name| {
        let containers = vec![(CONTAINER, Job::from(TcpServe { bind: any(TCP) }))];
        shop.deploy(&Deployment::new(name, containers))
    };
    let scene =
        Scene { till: deploy("till")?, neighbour: deploy("neighbour")?, store: deploy("store")? };
    print::node(&kit.kernel, &node.release()?, start.elapsed());

    let mut held = scene.works()?;
    for (fault, traffic) in [
        (format!("drop 30% egress udp port {UDP}"), Traffic::Datagrams),
        (format!("fail connect with ECONNREFUSED 50% to port {TCP}"), Traffic::Connects),
        ("fail mkdir with ENOSPC 50%".to_owned(), Traffic::Directories),
        (format!("corrupt 10% silent egress udp port {UDP}"), Traffic::Datagrams),
    ] {
        let armed = scene.annotate(&fault)?;
        if armed.phase == PodPhase::Refused {
            print::status(&armed);
            continue;
        }
        let seen = scene.look(&scene.till, traffic)?;
        print::victim("till", &seen);
        let beside = scene.look(&scene.neighbour, traffic)?;
        print::victim("neighbour", &beside);
        let status = scene.till.await_status(|status| injected(status) >= seen.broken)?;
        print::status(&status);
        held &= seen.broken > 0 && injected(&status) == seen.broken && beside.broken == 0;
    }
    print::kubectl(&format!("annotate pod {} --namespace {NAMESPACE} {FAULTS}-", scene.till.name));
    scene.till.annotate(None)?;
    print::status(&scene.till.await_status(|status| status.phase == PodPhase::Ended)?);
    held &= scene.works()?;
    Ok(held)
}

struct Scene {
    till: Pod,
    neighbour: Pod,
    store: Pod,
}

impl Scene {
    fn works(&self) -> Result<bool> {
        print::healthy();
        let mut fine = true;
        for traffic in [Traffic::Datagrams, Traffic::Connects, Traffic::Directories] {
            let seen = self.look(&self.till, traffic)?;
            print::victim("till", &seen);
            fine &= seen.broken == 0;
        }
        Ok(fine)
    }

    /// Annotates the till, and waits for the agent's answer.
    fn annotate(&self, fault: &str) -> Result<Status> {
        let pod = &self.till.name;
        print::kubectl(&format!(
            "annotate pod {pod} --namespace {NAMESPACE} --overwrite '{FAULTS}={fault}'"
        ));
        self.till.annotate(Some(fault))?;
        let observed = digest(fault);
        self.till.await_status(|status| {
            status.observed.as_ref() == Some(&observed)
                && matches!(status.phase, PodPhase::Armed | PodPhase::Refused)
        })
    }

    /// What a process in the pod's container sees.
    fn look(&self, pod: &Pod, traffic: Traffic) -> Result<Seen> {
        let store = |port| SocketAddr::from((self.store.address, port));
        match traffic {
            Traffic::Datagrams => {
                let sink = self.store.start(CONTAINER, UdpSink { bind: any(UDP) })?;
                let send = UdpSend { interval: PAUSE, ..UdpSend::new(store(UDP), DATAGRAMS) };
                let sent = pod.run(CONTAINER, send)?.total();
                Ok(Seen::of_datagrams(&sent, &sink.stop()?))
            }
            Traffic::Connects => {
                let what =
                    Repeated::Connect { to: store(TCP), nonblocking: false, timeout: TIMEOUT };
                let call = Call { interval: PAUSE, ..Call::new(what, CALLS) };
                Ok(Seen::of_connects(&pod.run(CONTAINER, call)?.total()))
            }
            Traffic::Directories => {
                let call = Call { interval: PAUSE, ..Call::new(Repeated::Mkdir, CALLS) };
                Ok(Seen::of_calls("directories", "made", &pod.run(CONTAINER, call)?.total()))
            }
        }
    }
}

fn injected(status: &Status) -> u64 {
    status.faults.iter().map(|fault| fault.counts.injected).sum()
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
