//! The agent dies, is stopped, or no longer hears the API server.

use std::time::{Duration, Instant};

use anyhow::Result;
use chaos_kube::{PodPhase, STATUS};
use chaos_tests::kubelet::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::cluster::{Cluster, GRACE, SHOP, Server};

#[test]
fn a_new_agent_resumes_and_never_extends() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let agent = cluster.agent(GRACE)?;
    let armed = cluster.arm(&pod, &format!("{} for 25s", server.refuse("100%")))?;
    let began = Instant::now();
    assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);

    agent.kill()?;
    server.await_healthy(&pod, "main", Duration::from_secs(2))?;
    let agent = cluster.agent(GRACE)?;
    let resumed = cluster.await_status(&pod, |status| status.faults[0].counted_since.is_some())?;
    assert_eq!(resumed.phase, PodPhase::Armed);
    assert_eq!(resumed.since, armed.since);
    let difference = |one: &Option<_>, other: &Option<_>| {
        let at = |time: &Option<MicroTime>| {
            time.as_ref().map(|time| time.0.as_microsecond()).unwrap_or_default()
        };
        at(one) - at(other)
    };
    assert!(difference(&resumed.until, &armed.until).abs() < 1_000, "{resumed:?} {armed:?}");
    assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);

    agent.stop()?;
    let stopped = cluster.status(&pod)?.expect("it was answered");
    assert_eq!(stopped.phase, PodPhase::Waiting, "{stopped:?}");
    assert_eq!(stopped.since, armed.since);
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);

    let _agent = cluster.agent(GRACE)?;
    cluster.await_status(&pod, |status| status.phase == PodPhase::Armed)?;
    cluster.await_status(&pod, |status| status.phase == PodPhase::Ended)?;
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(29), "it went on for {lasted:?}");
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);
    Ok(())
}

#[test]
fn an_api_server_that_is_not_heard_ends_faults_after_the_grace() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(6);
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods = ["web-0", "web-1"].map(|name| kubelet.run(&PodSpec::new(SHOP, name)));
    let [kept, removed] = pods;
    let (kept, removed) = (kept?, removed?);
    let servers = [Server::start(&kept)?, Server::start(&removed)?];
    let _agent = cluster.agent(GRACE)?;
    for (pod, server) in [&kept, &removed].into_iter().zip(&servers) {
        cluster.arm(pod, &server.refuse("100%"))?;
    }
    let armed = cluster.status(&kept)?.expect("it was answered");

    let [_, apiserver] = cluster.plane.pids();
    kill(apiserver, Signal::SIGSTOP)?;
    let deaf = Instant::now();
    // A short silence changes nothing.
    assert_eq!(servers[0].connect(&kept, "main", 100)?.failed(), 100);
    servers[0].await_healthy(&kept, "main", GRACE * 2)?;
    let lasted = deaf.elapsed();
    println!("disarmed {lasted:?} after the API server fell silent, with a grace of {GRACE:?}");
    assert!(lasted > GRACE / 2, "{lasted:?}");
    servers[1].await_healthy(&removed, "main", Duration::from_secs(2))?;

    kill(apiserver, Signal::SIGCONT)?;
    cluster.annotate(&removed, None)?;
    let back = cluster.await_status(&kept, |status| {
        status.phase == PodPhase::Armed && status.faults[0].counted_since.is_some()
    })?;
    assert_eq!((back.since, back.until), (armed.since, armed.until));
    assert_eq!(servers[0].connect(&kept, "main", 10)?.failed(), 10);
    cluster.await_status(&removed, |status| status.phase == PodPhase::Ended)?;
    assert_eq!(servers[1].connect(&removed, "main", 10)?.ok, 10);
    Ok(())
}

#[test]
fn a_beginning_that_lies_ahead_is_no_new_beginning() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let [set_back, old] = ["set-back", "old"].map(|name| kubelet.run(&PodSpec::new(SHOP, name)));
    let (set_back, old) = (set_back?, old?);
    let [server, old_server] = [&set_back, &old].map(Server::start);
    let (server, old_server) = (server?, old_server?);
    let mut agent = cluster.agent(GRACE)?;
    let armed = cluster.arm(&set_back, &format!("{} for 10m", server.refuse("100%")))?;
    cluster.arm(&old, &format!("{} for 10m", old_server.refuse("100%")))?;
    let (began, boot_id) = (armed.began, armed.boot_id.clone());
    assert!(began.is_some() && boot_id.is_some(), "{armed:?}");

    for _ in 0..2 {
        agent.kill()?;
        // Within one boot it does not matter what the wall clock says.
        rewrite_status(&cluster, &set_back, |status| {
            for place in ["/since", "/until", "/faults/0/since"] {
                *status.pointer_mut(place).expect("it is there") = json!(AHEAD);
            }
        })?;
        agent = cluster.agent(GRACE)?;
        let resumed = cluster.await_status(&set_back, |status| status.since < at(AHEAD))?;
        assert_eq!(resumed.phase, PodPhase::Armed, "{resumed:?}");
        assert_eq!((resumed.began, resumed.faults[0].began), (began, began));
        assert_eq!(resumed.boot_id, boot_id);
        assert!(resumed.until < at(AHEAD), "{resumed:?}");
        assert_eq!(server.connect(&set_back, "main", 10)?.failed(), 10);
    }

    agent.kill()?;
    // As version 0.1.0 wrote it, before the clock was set back.
    rewrite_status(&cluster, &old, |status| {
        for name in ["bootId", "began"] {
            status.as_object_mut().map(|status| status.remove(name));
            status["faults"][0].as_object_mut().map(|fault| fault.remove(name));
        }
        status["faults"][0]["since"] = json!(AHEAD);
    })?;
    let agent = cluster.agent(GRACE)?;
    let over = cluster.await_status(&old, |status| status.phase == PodPhase::Ended)?;
    assert!(over.messages[0].contains("it is over, not new"), "{over:?}");
    assert_eq!(old_server.connect(&old, "main", 10)?.ok, 10);
    agent.kill()?;
    let _agent = cluster.agent(GRACE)?;
    cluster.await_status(&set_back, |status| status.phase == PodPhase::Armed)?;
    assert_eq!(old_server.connect(&old, "main", 10)?.ok, 10);
    assert_eq!(cluster.status(&old)?, Some(over));
    Ok(())
}

/// No clock of a machine that runs tests is as late.
const AHEAD: &str = "2099-01-01T00:00:00.000000Z";

fn at(time: &str) -> Option<MicroTime> {
    time.parse().ok().map(MicroTime)
}

/// Changes what the agent has written on a pod.
fn rewrite_status(cluster: &Cluster, pod: &Pod, change: impl FnOnce(&mut Value)) -> Result<()> {
    let status = cluster.status(pod)?.expect("it was answered");
    let mut status = serde_json::to_value(status)?;
    change(&mut status);
    let annotation = format!("{STATUS}={status}");
    let Pod { namespace, name, .. } = pod;
    let annotate = ["annotate", "pod", name, "--namespace", namespace, "--overwrite", &annotation];
    cluster.plane.kubectl(&annotate)?;
    Ok(())
}
