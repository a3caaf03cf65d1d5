//! From the annotation to what a pod's processes see, and back.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use chaos_api::Phase;
use chaos_kube::PodPhase;
use chaos_tests::{
    job::{UdpSend, UdpSink},
    kubelet::{Layout, PodSpec},
    netns::TestNetns,
    process::Place,
    victim::Victim,
};

use crate::cluster::{Cluster, GRACE, SHOP, Server};

/// Time in which the agent could write a status, but must not do anything else.
const WHILE: Duration = Duration::from_secs(4);

#[test]
fn an_annotation_breaks_its_pod_and_nothing_else_until_it_goes() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let web = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let neighbour = kubelet.run(&PodSpec::new(SHOP, "web-1"))?;
    let (server, other) = (Server::start(&web)?, Server::start(&neighbour)?);
    let _agent = cluster.agent(GRACE)?;

    let armed = cluster.arm(&web, &server.refuse("50%"))?;
    let seen = server.connect(&web, "main", 1_000)?;
    let refused = seen.failed_with("ECONNREFUSED");
    assert!((350..650).contains(&refused), "{refused} of 1000");
    assert_eq!(seen.ok + refused, 1_000);
    let counted = cluster.await_status(&web, |status| status.faults[0].counts.matched == 1_000)?;
    assert_eq!(counted.faults[0].counts.injected, refused);
    assert_eq!(counted.faults[0].counts.spared["chance"], seen.ok);
    assert_eq!((&counted.since, &counted.until), (&armed.since, &armed.until));
    assert_eq!(other.connect(&neighbour, "main", 1_000)?.ok, 1_000);
    assert_eq!(cluster.status(&neighbour)?, None);

    cluster.annotate(&web, None)?;
    let ended = cluster.await_status(&web, |status| status.phase == PodPhase::Ended)?;
    assert_eq!((ended.observed, ended.faults[0].counts.injected), (None, refused));
    assert_eq!(server.connect(&web, "main", 1_000)?.ok, 1_000);

    // Asked for again, it is a new fault.
    let again = cluster.arm(&web, &server.refuse("100%"))?;
    assert!(again.since > armed.since);
    assert_eq!(server.connect(&web, "main", 10)?.failed_with("ECONNREFUSED"), 10);

    cluster.plane.kubectl(&["label", "namespace", SHOP, "chaos-agent.dev/enabled-"])?;
    let refusal = cluster.await_status(&web, |status| status.phase == PodPhase::Refused)?;
    assert!(refusal.messages[0].contains("label it"), "{refusal:?}");
    assert_eq!(server.connect(&web, "main", 100)?.ok, 100);

    cluster.namespace(SHOP, true)?;
    let back = cluster.await_status(&web, |status| status.phase == PodPhase::Armed)?;
    assert_eq!((back.since, back.until), (again.since, again.until));
    assert_eq!(server.connect(&web, "main", 10)?.failed(), 10);

    let events = cluster.plane.event_reasons(SHOP)?;
    for reason in ["FaultsArmed", "FaultsEnded", "FaultsRefused"] {
        assert!(events.contains(reason), "{events}");
    }

    let force = ["--grace-period=0", "--force", "--namespace", SHOP];
    cluster.plane.kubectl(&[&["delete", "pod", "web-0"][..], &force].concat())?;
    server.await_healthy(&web, "main", Duration::from_secs(20))
}

#[test]
fn either_driver_and_every_quality_of_service() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let _agent = cluster.agent(GRACE)?;
    let mut pods = Vec::new();
    for (number, layout) in Layout::all().enumerate() {
        let spec = PodSpec::new(SHOP, &format!("pod-{number}"))
            .layout(layout)
            .annotation(chaos_kube::FAULTS, "fail connect with ECONNREFUSED");
        pods.push((layout, kubelet.run(&spec)?));
    }
    for (layout, pod) in &pods {
        let server = Server::start(pod)?;
        cluster
            .await_status(pod, |status| status.phase == PodPhase::Armed)
            .with_context(|| format!("{layout:?}"))?;
        assert_eq!(
            server.connect(pod, "main", 100)?.failed_with("ECONNREFUSED"),
            100,
            "{layout:?}"
        );
    }
    Ok(())
}

#[test]
fn lost_datagrams_are_counted_one_by_one() -> Result<()> {
    const SENT: u64 = 10_000;
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "sender"))?;
    let outside = TestNetns::new()?;
    let (_, there) = pod.netns.veth(&outside, 0)?;
    let _agent = cluster.agent(GRACE)?;
    cluster.arm(&pod, "drop 10% egress udp to 10.200.0.0/24 for 10m")?;

    let sink = UdpSink { bind: there.socket_v4(0) };
    let sink = Victim::start(sink, Place::here().netns(&outside))?;
    let sent = Victim::run(UdpSend::new(sink.address(), SENT), pod.place("main"))?;
    assert_eq!((sent.total().ok, sent.total().failed()), (SENT, 0));
    let lost = SENT - sink.stop()?.received;
    assert!((800..1_200).contains(&lost), "{lost} of {SENT}");
    let counts = cluster.await_status(&pod, |status| status.faults[0].counts.matched == SENT)?;
    assert_eq!(counts.faults[0].counts.injected, lost);
    Ok(())
}

#[test]
fn what_cannot_be_done_is_answered_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let _agent = cluster.agent(GRACE)?;
    let good = server.refuse("100%");
    let cases = [
        ("drip 10% egress".to_owned(), "line 1, column 1"),
        (format!("{good}\ndrop 200% egress"), "line 2"),
        (format!("{good}\nskew clock by +1d"), "skew clock"),
        (format!("{good} in container cache"), "no container `cache`; it has main"),
        ("# nothing".to_owned(), "no fault"),
    ];
    for (text, expected) in cases {
        // What was armed before is not what the annotation says any more.
        cluster.arm(&pod, &good)?;
        assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);
        cluster.annotate(&pod, Some(&text))?;
        let refused = cluster.await_status(&pod, |status| status.phase == PodPhase::Refused)?;
        assert!(refused.messages.join("\n").contains(expected), "{text:?}: {refused:?}");
        assert_eq!(server.connect(&pod, "main", 100)?.ok, 100, "{text:?}");
    }

    cluster.namespace("quiet", false)?;
    let silent = kubelet.run(
        &PodSpec::new("quiet", "web-0")
            .annotation(chaos_kube::FAULTS, "fail connect with ECONNREFUSED"),
    )?;
    let system = kubelet.run(
        &PodSpec::new("kube-system", "dns")
            .annotation(chaos_kube::FAULTS, "fail connect with ECONNREFUSED"),
    )?;
    for pod in [&silent, &system] {
        let server = Server::start(pod)?;
        cluster.await_status(pod, |status| status.phase == PodPhase::Refused)?;
        assert_eq!(server.connect(pod, "main", 100)?.ok, 100);
    }
    Ok(())
}

#[test]
fn an_edit_keeps_what_stays_and_a_fault_keeps_to_its_container() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let spec = PodSpec::new(SHOP, "web-0").container("db");
    let mut pod = kubelet.run(&spec)?;
    let server = Server::start(&pod)?;
    let _agent = cluster.agent(GRACE)?;
    let refuse = server.refuse("100%");
    let in_db = format!("{refuse} in container db");

    let first = cluster.arm(&pod, &in_db)?;
    assert_eq!(server.connect(&pod, "db", 30)?.failed(), 30);
    assert_eq!(server.connect(&pod, "main", 30)?.ok, 30);
    cluster.await_status(&pod, |status| status.faults[0].counts.injected == 30)?;

    cluster.annotate(&pod, Some(&format!("drop 10% egress udp\n{in_db}")))?;
    let edited = cluster.await_status(&pod, |status| status.faults.len() == 2)?;
    assert_eq!(edited.phase, PodPhase::Armed);
    assert_eq!(edited.faults[1].since, first.faults[0].since);
    assert_eq!(edited.faults[1].until, first.faults[0].until);
    assert_eq!(edited.faults[1].counts.injected, 30);
    assert!(edited.faults[0].since > edited.faults[1].since);
    assert_eq!(server.connect(&pod, "db", 12)?.failed(), 12);
    cluster.await_status(&pod, |status| status.faults[1].counts.injected == 42)?;

    // The container crashes, and its successor has another id and another cgroup.
    kubelet.restart(&mut pod, &spec, "db")?;
    let counted_anew = |status: &chaos_kube::Status| status.faults[1].counted_since.is_some();
    let restarted = cluster.await_status(&pod, counted_anew)?;
    assert_eq!(restarted.faults[1].since, first.faults[0].since);
    assert_eq!(server.connect(&pod, "db", 30)?.failed(), 30);
    assert_eq!(server.connect(&pod, "main", 30)?.ok, 30);
    Ok(())
}

#[test]
fn a_fault_ends_by_itself_and_stays_ended() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let agent = cluster.agent(GRACE)?;
    cluster.arm(&pod, &format!("{} for 4s", server.refuse("100%")))?;
    let ended = cluster.await_status(&pod, |status| status.phase == PodPhase::Ended)?;
    assert_eq!(ended.faults[0].phase, Phase::Ended);
    assert_eq!(server.connect(&pod, "main", 100)?.ok, 100);

    agent.kill()?;
    let _next = cluster.agent(GRACE)?;
    thread::sleep(WHILE);
    assert_eq!(cluster.status(&pod)?, Some(ended));
    assert_eq!(server.connect(&pod, "main", 100)?.ok, 100);
    Ok(())
}
