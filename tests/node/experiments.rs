//! An experiment on real pods: the controller of the manifests picks one of two, follows it through a rolling restart of
//! its Deployment, and when the controller is removed with a Run going on, nothing stays broken.

mod slow_store;
mod tutorial;

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_kube::{FAULTS, PodPhase, STATUS, Status};
use chaos_tests::{
    job::{Job, TcpServe, UdpSend, UdpSink},
    node::Deployment,
};
use libtest_mimic::Completion;
use serde_json::Value;

use crate::{
    Test,
    scene::{MAIN, Scene, TCP, any, injected},
};

pub const TESTS: &[(&str, Test)] = &[
    (
        "experiments::a_slow_store_deviates_and_is_healed",
        slow_store::a_slow_store_deviates_and_is_healed,
    ),
    ("experiments::the_tutorial_does_what_it_says", tutorial::the_tutorial_does_what_it_says),
    // The last one, as it removes the controller.
    (
        "experiments::a_run_keeps_its_share_and_ends_with_the_controller",
        a_run_keeps_its_share_and_ends_with_the_controller,
    ),
];

/// The port that datagrams are sent to.
const SINK: u16 = 9200;
const DATAGRAMS: u64 = 100;

/// Far longer than anything takes, under emulation and on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Applies the controller's manifests, whose directory is returned, and waits until it is there.
fn deploy_controller(scene: &Scene) -> Result<String> {
    let manifests = xtask::paths::workspace().join("manifests/controller").display().to_string();
    scene.node.plane().kubectl(&["apply", "--kustomize", &manifests])?;
    let patience = PATIENCE.as_secs();
    scene.node.kubectl(&format!(
        "rollout status deployment/chaos-controller --namespace chaos-agent --timeout {patience}s"
    ))?;
    Ok(manifests)
}

/// The pods of the Deployment that are broken, with what their agent says.
fn broken(scene: &Scene) -> Result<BTreeMap<String, Status>> {
    let pods = scene.node.kubectl("get pods --namespace shop --selector=app=web --output=json")?;
    let pods: Value = serde_json::from_str(&pods).context("pods")?;
    let mut broken = BTreeMap::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let annotations = &pod["metadata"]["annotations"];
        let said = annotations[STATUS].as_str().map(serde_json::from_str).transpose()?;
        let is_going = !pod["metadata"]["deletionTimestamp"].is_null();
        if let (Some(_), Some(status), Some(name), false) =
            (annotations[FAULTS].as_str(), said, pod["metadata"]["name"].as_str(), is_going)
        {
            broken.insert(name.to_owned(), status);
        }
    }
    broken.retain(|_, status: &mut Status| status.phase == PodPhase::Armed);
    Ok(broken)
}

/// Waits until exactly one pod is broken, and another one than this; never more are.
fn await_one(scene: &Scene, but: Option<&str>) -> Result<(String, Status)> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let broken = broken(scene)?;
        ensure!(broken.len() <= 1, "more than a half of two pods: {broken:#?}");
        match broken.into_iter().next() {
            Some((name, status)) if Some(name.as_str()) != but => return Ok((name, status)),
            Some(_) | None if Instant::now() > give_up => bail!("no pod but {but:?} was broken"),
            Some(_) | None => sleep(Duration::from_millis(500)),
        }
    }
}

/// What a broken pod sees, and what its agent counts: all of its datagrams to the store are lost.
fn is_cut_off(scene: &Scene, name: &str) -> Result<()> {
    let pod = scene.shop.pod(name)?;
    let sink = scene.store.start(MAIN, UdpSink { bind: any(SINK) })?;
    let sent = pod.run(MAIN, UdpSend::new(scene.store(SINK), DATAGRAMS))?.total().ok;
    let received = sink.stop()?.received;
    ensure!((sent, received) == (DATAGRAMS, 0), "{sent} were sent, {received} arrived");
    let status = pod.await_status(|status| injected(status) >= DATAGRAMS)?;
    ensure!(injected(&status) == DATAGRAMS, "{status:#?}");
    Ok(())
}

fn a_run_keeps_its_share_and_ends_with_the_controller(scene: &Scene) -> Result<Completion> {
    let Scene { node, shop, .. } = scene;
    let manifests = deploy_controller(scene)?;
    shop.deploy(&Deployment::new("web", vec![(MAIN, Job::from(TcpServe { bind: any(TCP) }))]))?;
    node.kubectl("scale deployment/web --namespace shop --replicas 2")?;
    let patience = PATIENCE.as_secs();
    let rolled = format!("rollout status deployment/web --namespace shop --timeout {patience}s");
    node.kubectl(&rolled)?;
    // Where the store is, the controller finds out.
    node.kubectl(&format!(
        "create service clusterip store --namespace shop --clusterip None --tcp {SINK}:{SINK}"
    ))?;

    let sentence = format!("drop egress udp to @store port {SINK} for 30m");
    scene.chaos(&["run", "deploy/web", &sentence, "--pick", "50%", "--name", "cut"])?;
    let (first, _) = await_one(scene, None)?;
    is_cut_off(scene, &first)?;

    node.kubectl("rollout restart deployment/web --namespace shop")?;
    let (second, _) = await_one(scene, Some(&first))?;
    node.kubectl(&rolled)?;
    // It may have been the surplus pod of the restart.
    let last = match await_one(scene, None)? {
        (name, _) if name == second => second,
        (name, _) => name,
    };
    is_cut_off(scene, &last)?;

    // With the Run, the definitions and the Lease go.
    node.plane().kubectl(&["delete", "--kustomize", &manifests, "--wait=false"])?;
    let ended = shop.pod(&last)?.await_status(|status| status.phase == PodPhase::Ended)?;
    ensure!(broken(scene)?.is_empty(), "{ended:#?}");
    node.kubectl("delete deployment/web service/store --namespace shop")?;
    Ok(Completion::Completed)
}
