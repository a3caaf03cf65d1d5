//! Pods that are not like the others: on the host's network, static, finished, one too many.

use anyhow::Result;
use chaos_kube::{FAULTS, PodPhase};
use chaos_tests::{
    job::{UdpSend, UdpSink},
    kubelet::{MIRROR, PodSpec},
    netns::TestNetns,
    process::Place,
    victim::Victim,
};

use crate::cluster::{Cluster, GRACE, SHOP, Server};

#[test]
fn of_two_pods_on_one_network_only_the_chosen_one_is_broken() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    // The first stands for the node, whose network the second shares.
    let node = kubelet.run(&PodSpec::new(SHOP, "node"))?;
    let chosen = kubelet.run_on_network_of(&node, &PodSpec::new(SHOP, "chosen"))?;
    let server = Server::start(&node)?;
    let _agent = cluster.agent(GRACE)?;
    cluster.arm(&chosen, &server.refuse("100%"))?;
    assert_eq!(server.connect(&chosen, "main", 100)?.failed_with("ECONNREFUSED"), 100);
    assert_eq!(server.connect(&node, "main", 1_000)?.ok, 1_000);
    Ok(())
}

#[test]
fn what_the_operator_exempts_is_left_alone_on_every_network() -> Result<()> {
    const SENT: u64 = 100;
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let own = kubelet.run(&PodSpec::new(SHOP, "own"))?;
    let node = kubelet.run(&PodSpec::new(SHOP, "node"))?;
    let shared = kubelet.run_on_network_of(&node, &PodSpec::new(SHOP, "shared"))?;
    let outside = TestNetns::new()?;
    let mut ends = Vec::new();
    for (subnet, network) in (0..).zip([&own, &own, &node, &node]) {
        ends.push(network.netns.veth(&outside, subnet)?.1);
    }
    let exempt = [&ends[0], &ends[2]].map(|end| end.socket_v4(0).ip());
    let _agent = cluster.agent_with(GRACE, |command| {
        command.args(exempt.map(|address| format!("--exempt={address}")));
    })?;
    for (pod, ends) in [(&own, &ends[..2]), (&shared, &ends[2..])] {
        cluster.arm(pod, "drop egress udp to 10.200.0.0/16")?;
        for (end, expected) in ends.iter().zip([SENT, 0]) {
            let sink = UdpSink { bind: end.socket_v4(0) };
            let sink = Victim::start(sink, Place::here().netns(&outside))?;
            Victim::run(UdpSend::new(sink.address(), SENT), pod.place("main"))?;
            assert_eq!(sink.stop()?.received, expected, "{} to {}", pod.name, end.socket_v4(0));
        }
    }
    Ok(())
}

#[test]
fn a_static_pod_is_found_by_what_its_mirror_says() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let uid = "0123456789abcdef0123456789abcdef";
    let spec = PodSpec::new(SHOP, "static").annotation(MIRROR, uid);
    let pod = kubelet.run(&spec)?;
    let server = Server::start(&pod)?;
    let _agent = cluster.agent(GRACE)?;
    cluster.arm(&pod, &server.refuse("100%"))?;
    assert_eq!(server.connect(&pod, "main", 100)?.failed_with("ECONNREFUSED"), 100);

    // Whoever may create pods can write that annotation: it must not lead to another's cgroup.
    let victim = kubelet.run(&PodSpec::new(SHOP, "victim"))?;
    let liar = kubelet.run(
        &PodSpec::new(SHOP, "liar")
            .annotation(MIRROR, &victim.uid)
            .cgroup_of_its_own()
            .annotation(FAULTS, "fail connect with ECONNREFUSED"),
    )?;
    cluster.await_status(&liar, |status| status.phase == PodPhase::Waiting)?;
    let server = Server::start(&victim)?;
    assert_eq!(server.connect(&victim, "main", 100)?.ok, 100);
    Ok(())
}

#[test]
fn a_pod_that_has_finished_is_broken_no_more() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "job"))?;
    let server = Server::start(&pod)?;
    let _agent = cluster.agent(GRACE)?;
    cluster.arm(&pod, &server.refuse("100%"))?;
    assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);
    kubelet.finish(&pod)?;
    let ended = cluster.await_status(&pod, |status| status.phase == PodPhase::Ended)?;
    assert_eq!(ended.messages, ["the pod has finished"]);
    assert_eq!(ended.faults[0].counts.injected, 10);
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);
    Ok(())
}

#[test]
fn a_node_takes_so_many_targets_and_the_others_wait() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods = ["web-0", "web-1"].map(|name| kubelet.run(&PodSpec::new(SHOP, name)));
    let [first, second] = pods;
    let (first, second) = (first?, second?);
    let server = Server::start(&second)?;
    let _agent = cluster.agent_with(GRACE, |command| {
        command.arg("--most-targets=1");
    })?;
    cluster.arm(&first, "drop 1% egress")?;
    cluster.annotate(&second, Some(&server.refuse("100%")))?;
    let waiting = cluster.await_status(&second, |status| status.phase == PodPhase::Waiting)?;
    assert!(waiting.messages[0].contains("no more than 1 armed at once"), "{waiting:?}");
    assert_eq!(server.connect(&second, "main", 10)?.ok, 10);

    cluster.annotate(&first, None)?;
    let armed = cluster.await_status(&second, |status| status.phase == PodPhase::Armed)?;
    assert!(armed.messages.is_empty(), "{armed:?}");
    assert_eq!(server.connect(&second, "main", 10)?.failed(), 10);
    // No two pods roll the same dice.
    let seeds = [&armed.faults[0].seed, &cluster.status(&first)?.expect("it ended").faults[0].seed];
    assert!(seeds[0].is_some() && seeds[0] != seeds[1], "{seeds:?}");
    Ok(())
}
