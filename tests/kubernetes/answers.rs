//! What the API server refuses about one pod costs no other its answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chaos_kube::{FAULTS, PodPhase, STATUS};
use chaos_tests::{
    control_plane::Identity,
    kubelet::{Pod, PodSpec},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, GRACE, SHOP, Server};

/// The annotations of an object have no more bytes than these, names and values together.
/// <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/api/validation/objectmeta.go>
/// `TotalAnnotationSizeLimitB`
const MOST: usize = 256 * 1024;

/// Room for a phase and a clock, but for no fault.
const TIGHT: usize = 190;
/// Room for nothing that the agent could say.
const FULL: usize = 20;

/// Far longer than an event takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn pods_that_cannot_be_answered_delay_no_other() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    // They come first by name and in time.
    let full = kubelet.run(&PodSpec::new(SHOP, "a-full"))?;
    let tight = kubelet.run(&PodSpec::new(SHOP, "b-tight"))?;
    cluster.namespace("ending", true)?;
    let ending = kubelet.run(&PodSpec::new("ending", "a"))?;
    let good = kubelet.run(&PodSpec::new(SHOP, "z-good"))?;
    let [full_server, tight_server, server] = [&full, &tight, &good].map(Server::start);
    let (full_server, tight_server, server) = (full_server?, tight_server?, server?);
    // No controller finishes that here, so it stays for as long as the cluster does.
    cluster.plane.kubectl(&["delete", "namespace", "ending", "--wait=false"])?;
    fill(&cluster, &full, &full_server.refuse("100%"), FULL)?;
    fill(&cluster, &tight, &tight_server.refuse("100%"), TIGHT)?;
    let agent = cluster.agent(GRACE)?;
    cluster.annotate(&ending, Some("drip"))?;
    cluster.await_status(&ending, |status| status.phase == PodPhase::Refused)?;

    let armed = cluster.arm(&good, &server.refuse("100%"))?;
    assert_eq!(server.connect(&good, "main", 100)?.failed_with("ECONNREFUSED"), 100);
    cluster.await_status(&good, |status| status.faults[0].counts.injected == 100)?;
    await_event(&cluster, &good)?;

    // Of one that has room for it there is the clock, and there are events of both.
    let short = cluster.await_status(&tight, |status| status.phase == PodPhase::Armed)?;
    assert!(short.faults.is_empty() && short.since.is_some() && short.began.is_some());
    assert_eq!(tight_server.connect(&tight, "main", 10)?.failed(), 10);
    assert_eq!(cluster.status(&full)?, None);
    assert_eq!(full_server.connect(&full, "main", 10)?.failed(), 10);
    await_event(&cluster, &full)?;

    agent.stop()?;
    for (pod, before) in [(&good, &armed), (&tight, &short)] {
        let last = cluster.status(pod)?.context("it was answered")?;
        assert_eq!(last.phase, PodPhase::Waiting, "{}: {last:#?}", pod.name);
        assert_eq!((&last.since, last.began), (&before.since, before.began), "{}", pod.name);
    }

    let _agent = cluster.agent(GRACE)?;
    for (pod, before) in [(&good, &armed), (&tight, &short)] {
        let again = cluster.await_status(pod, |status| status.phase == PodPhase::Armed)?;
        assert_eq!((&again.since, again.began), (&before.since, before.began), "{}", pod.name);
    }
    // As soon as there is room, and something to say, it is said.
    cluster.plane.kubectl(&["annotate", "pod", "a-full", "--namespace", SHOP, "junk-"])?;
    cluster.annotate(&full, Some("drop 1% egress"))?;
    cluster.await_status(&full, |status| status.faults.len() == 1)?;
    Ok(())
}

/// Writes the fault annotation and another one beside it that leaves `room` bytes for the value
/// of the agent's.
fn fill(cluster: &Cluster, pod: &Pod, faults: &str, room: usize) -> Result<()> {
    let place = ["--namespace", &pod.namespace];
    let get = ["get", "pod", &pod.name, "--output=json"];
    let object = cluster.plane.kubectl(&[&get[..], &place].concat())?;
    let object: Value = serde_json::from_str(&object).context("the pod")?;
    let annotations = object["metadata"]["annotations"].as_object();
    let others = annotations.into_iter().flatten();
    let others: usize =
        others.map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    let own = FAULTS.len() + faults.len() + "junk".len() + STATUS.len();
    let junk = "x".repeat(MOST - others - own - room);
    let patch = json!({ "metadata": { "annotations": { FAULTS: faults, "junk": junk } } });
    let command = ["patch", "pod", &pod.name, "--patch-file=/dev/stdin"];
    let command = [&command[..], &place].concat();
    cluster.plane.kubectl_as(Identity::Admin, &command, &patch.to_string())?;
    Ok(())
}

/// Waits for the event that a pod's faults were armed.
fn await_event(cluster: &Cluster, pod: &Pod) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let events = cluster.plane.kubectl(&[
            "get",
            "events.events.k8s.io",
            "--namespace",
            &pod.namespace,
            "--output=jsonpath={range .items[*]}{.regarding.name} {.reason}{\"\\n\"}{end}",
        ])?;
        if events.contains(&format!("{} FaultsArmed", pod.name)) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < give_up, "{}: {events}", pod.name);
    }
}
