//! Each of the rights with which the DaemonSet runs the agent is needed.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use caps::Capability;
use chaos_kube::{FAULTS, PodPhase};
use chaos_tests::{
    kubelet::{Kubelet, PodSpec},
    requirements::Release,
};

use crate::{
    cluster::{Cluster, GRACE, SHOP},
    container::{confine, of_manifest},
};

/// A fault for each family of hooks: packets, addresses, sockets, options, frames.
const EVERY_FAMILY: &str = "drop 10% egress udp; fail connect, bind, socket, setsockopt with \
                            EPERM 1%; corrupt 10% udp";

/// From here on CAP_SYS_ADMIN allows what CAP_NET_ADMIN does to attach a program to a cgroup.
/// <https://github.com/torvalds/linux/blob/v6.9/kernel/bpf/syscall.c> `bpf_token_capable`
const IMPLIED_SINCE: Release = Release::new(6, 9);

/// Within this an agent that can do its work has done it.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn no_capability_of_the_manifest_can_be_left_out() -> Result<()> {
    let all = of_manifest()?;
    assert!(!all.is_empty());
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    assert!(arms(&cluster, &kubelet, "all", &all)?, "{all:?} do not suffice");
    let running = Release::running()?;
    for left_out in &all {
        if *left_out == Capability::CAP_NET_ADMIN && running >= IMPLIED_SINCE {
            println!("{left_out}: not tried, as {running} takes CAP_SYS_ADMIN for it");
            continue;
        }
        let mut others = all.clone();
        others.remove(left_out);
        let name = format!("without-{}", left_out.to_string().to_lowercase().replace('_', "-"));
        assert!(!arms(&cluster, &kubelet, &name, &others)?, "{left_out} is not needed");
    }
    Ok(())
}

/// Whether an agent with these arms a new pod with every kind of fault.
fn arms(
    cluster: &Cluster,
    kubelet: &Kubelet<'_>,
    name: &str,
    capabilities: &HashSet<Capability>,
) -> Result<bool> {
    let pod = kubelet.run(&PodSpec::new(SHOP, name).annotation(FAULTS, EVERY_FAMILY))?;
    let agent = cluster.agent_with(GRACE, |command| confine(command, capabilities))?;
    let give_up = Instant::now() + SOON;
    let mut is_armed = false;
    while !is_armed && Instant::now() < give_up {
        is_armed = cluster.status(&pod)?.is_some_and(|status| status.phase == PodPhase::Armed);
    }
    agent.kill()?;
    Ok(is_armed)
}
