//! Names of Services, which a real CoreDNS answers: one name is made unknown to one pod.

use std::{
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_kube::PodPhase;
use chaos_tests::{
    job::{LookUps, LookedUp},
    node::Pod,
};
use libtest_mimic::Completion;

use crate::{
    Test,
    scene::{ECHO, MAIN, Scene, injected},
};

pub const TESTS: &[(&str, Test)] =
    &[("names::a_name_is_unknown_to_one_pod_alone", a_name_is_unknown_to_one_pod_alone)];

/// With the dot at its end, it is not looked for in other domains before.
const STORE: &str = "store.shop.svc.cluster.local.";
const OTHER: &str = "kubernetes.default.svc.cluster.local.";

const TIMES: u64 = 10;
/// Questions of one look-up: for its IPv4 address, and for its IPv6 address.
const QUESTIONS: u64 = 2;

/// How long it may take until the name server has heard of a Service.
const PATIENCE: Duration = Duration::from_secs(60);

fn a_name_is_unknown_to_one_pod_alone(scene: &Scene) -> Result<Completion> {
    let Scene { node, till, neighbour, store, .. } = scene;
    node.deploy_dns()?;
    // Its name has the address of the pod itself.
    node.kubectl(&format!(
        "create service clusterip store --namespace shop --clusterip None --tcp {ECHO}:{ECHO}"
    ))?;
    await_name(till, IpAddr::V4(store.address))?;

    let fault = format!("fail dns with NXDOMAIN for {}", STORE.trim_end_matches('.'));
    let status = scene.break_till(&fault)?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let seen = look_up(till, STORE)?;
    ensure!((seen.found, seen.failed) == (0, TIMES), "{seen:?}");
    for (pod, name) in [(till, OTHER), (neighbour, STORE)] {
        let seen = look_up(pod, name)?;
        ensure!((seen.found, seen.failed) == (TIMES, 0), "{name} in {}: {seen:?}", pod.name);
    }
    let expected = TIMES * QUESTIONS;
    let status = till.await_status(|status| injected(status) >= expected)?;
    ensure!(injected(&status) == expected, "{status:#?}");

    scene.heal_till()?;
    let seen = look_up(till, STORE)?;
    ensure!(seen.failed == 0, "not healed: {seen:?}");
    node.kubectl("delete service/store --namespace shop")?;
    Ok(Completion::Completed)
}

fn look_up(pod: &Pod, name: &str) -> Result<LookedUp> {
    pod.run(MAIN, LookUps { name: name.to_owned(), times: TIMES })
}

/// Waits until the name leads there.
fn await_name(pod: &Pod, address: IpAddr) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let seen = look_up(pod, STORE)?;
        if seen.failed == 0 {
            ensure!(seen.addresses.into_iter().eq([address]), "{STORE} is not at {address} alone");
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "{STORE} is not known: {seen:?}");
        sleep(Duration::from_millis(500));
    }
}
