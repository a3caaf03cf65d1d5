//! Two agents on one node, as while a DaemonSet is updated, and an agent beside a process that breaks the
//! same pod: what is asked for is armed once, and by whoever is there.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::Result;
use chaos_kube::{PodPhase, Status};
use chaos_tests::{
    job::{Repeat, UdpSend, UdpSink},
    kubelet::{Pod, PodSpec},
    process::{Place, Process},
    program,
    victim::Victim,
};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, GRACE, SHOP};

const DATAGRAMS: u64 = 500;

/// How many datagrams come of [`DATAGRAMS`] that a process of the pod sends to another one.
fn received(pod: &Pod) -> Result<u64> {
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let sink = Victim::start(UdpSink { bind }, pod.network())?;
    Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pod.place("main"))?;
    Ok(sink.stop()?.received)
}

#[test]
fn a_successor_takes_over_when_its_predecessor_ends() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods = ["copied", "held", "lossy"].map(|name| kubelet.run(&PodSpec::new(SHOP, name)));
    let [copied, held, lossy] = pods;
    let pods = [copied?, held?, lossy?];
    let faults = [
        "duplicate egress udp to 127.0.0.0/8 for 10m",
        "delay 5ms udp to 127.0.0.0/8 for 10m; corrupt silent every 5th egress tcp for 10m",
        "drop every 2nd egress udp to 127.0.0.0/8 for 10m",
    ];
    let come = [2 * DATAGRAMS, DATAGRAMS, DATAGRAMS / 2];
    let old = cluster.agent(GRACE)?;
    let mut armed = Vec::new();
    for (pod, faults) in pods.iter().zip(faults) {
        armed.push(cluster.arm(pod, faults)?);
    }

    // The victim that sends all the time is met by one agent, by none, and by the other one.
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let sink = Victim::start(UdpSink { bind }, pods[0].network())?;
    let send = UdpSend {
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(1),
        ..UdpSend::new(sink.address(), 0)
    };
    let sender = Victim::start(send, pods[0].place("main"))?;

    let new = cluster.agent(GRACE)?;
    for pod in &pods {
        let status = cluster.await_status(pod, |status| {
            status
                .messages
                .iter()
                .any(|message| message.contains("(chaos-agent agent) has it armed"))
        })?;
        assert_eq!(status.phase, PodPhase::Waiting, "{status:?}");
    }
    for (pod, come) in pods.iter().zip(come) {
        assert_eq!(received(pod)?, come, "under both agents");
    }

    old.stop()?;
    for ((pod, before), come) in pods.iter().zip(&armed).zip(come) {
        let status = cluster.await_status(pod, |status| {
            status.phase == PodPhase::Armed && status.faults[0].counted_since.is_some()
        })?;
        assert_eq!(status.since, before.since, "the clock goes on");
        let until = |status: &Status| {
            status.until.as_ref().map(|until| until.0.as_microsecond()).unwrap_or_default()
        };
        assert!((until(&status) - until(before)).abs() < 1_000, "{status:?} {before:?}");
        assert_eq!(received(pod)?, come, "under the successor");
    }
    let sent = sender.stop()?.total();
    let received = sink.stop()?.received;
    println!("{received} of {} datagrams across the handover", sent.ok);
    assert_eq!(sent.failed(), 0);
    assert!((sent.ok + 1..=2 * sent.ok).contains(&received), "{received} of {}", sent.ok);
    drop(new);
    Ok(())
}

#[test]
fn what_is_asked_for_while_both_agents_run_has_its_time_once() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let old = cluster.agent(GRACE)?;
    cluster.arm(&pod, "drop every 5th egress udp to 127.0.0.0/8 for 10m")?;
    let _new = cluster.agent(GRACE)?;
    cluster.await_status(&pod, |status| status.phase == PodPhase::Waiting)?;

    // Both know the pod already: neither reads any more what the other one answers.
    cluster.annotate(&pod, Some("drop every 2nd egress udp to 127.0.0.0/8 for 10m"))?;
    let mut looks = 0..100;
    while received(&pod)? != DATAGRAMS / 2 {
        assert!(looks.next().is_some(), "the other text is not armed");
    }
    let is_second = |status: &Status| status.faults.iter().any(|one| one.fault.contains("2nd"));
    // Whichever wrote last.
    let before =
        cluster.await_status(&pod, |status| is_second(status) && status.began.is_some())?;
    old.stop()?;
    // Where the successor was the first to arm the other text, it has nothing to take over.
    let is_its_own = received(&pod)? == DATAGRAMS / 2;
    let after = cluster.await_status(&pod, |status| {
        is_second(status)
            && status.phase == PodPhase::Armed
            && (is_its_own || status.faults[0].counted_since.is_some())
    })?;
    assert!(after.began <= before.began, "its time began anew: {after:?} {before:?}");
    assert_eq!(received(&pod)?, DATAGRAMS / 2, "under the successor");
    Ok(())
}

#[test]
fn a_pod_that_somebody_else_breaks_is_refused_until_that_ends() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let _agent = cluster.agent(GRACE)?;
    let there = "duplicate egress udp to 127.0.0.0/8";
    let mut inject = Command::new(program::agent()?);
    inject.args(["inject", "--fault", there, "--for", "10m", "--cgroup"]).arg(pod.cgroup().path());
    let inject = Process::spawn(inject, Place::here())?;
    let mut looks = 0..100;
    while received(&pod)? != 2 * DATAGRAMS {
        assert!(looks.next().is_some(), "nothing is copied");
    }

    // What goes together with it is armed.
    cluster.arm(&pod, "drop every 2nd egress udp to 127.0.0.0/8")?;
    assert_eq!(received(&pod)?, DATAGRAMS);
    cluster.annotate(&pod, Some("delay 5ms egress udp"))?;
    let refused = cluster.await_status(&pod, |status| status.phase == PodPhase::Refused)?;
    let named = format!("process {} (chaos-agent inject) has armed `{there}`", inject.pid());
    assert!(refused.messages[0].contains(&named), "{refused:?}");
    assert!(refused.messages[0].contains("in one text"), "{refused:?}");
    assert_eq!(received(&pod)?, 2 * DATAGRAMS);

    inject.signal(Signal::SIGKILL)?;
    let armed = cluster.await_status(&pod, |status| status.phase == PodPhase::Armed)?;
    assert_eq!((armed.faults.len(), armed.messages.len()), (1, 0), "{armed:?}");
    assert_eq!(received(&pod)?, DATAGRAMS);
    Ok(())
}
