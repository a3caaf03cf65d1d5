//! A page asks a Redis by its Service. Its packets to the Redis are delayed, a probe of the page breaks, and the Run ends:
//! the faults were there, the hypothesis has deviated, and the page is fast again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_api::kinds::{Hypothesis, HypothesisReason, Reason, Run, RunPhase, RunStatus, Verdict};
use chaos_kube::{FAULTS, PodPhase};
use chaos_tests::{
    job::{RedisPage, TcpConnects},
    node::{Deployment, Pod},
};
use libtest_mimic::Completion;
use serde_json::{Value, json};

use super::{PATIENCE, deploy_controller};
use crate::scene::{MAIN, Scene, TCP, any, injected};

/// The addresses of the Services.
const PAGE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 80);
const REDIS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 63);
const REDIS_PORT: u16 = 6379;
/// By which the page finds the Redis. With the dot at its end, it is not looked for in other domains before.
const REDIS_NAME: &str = "redis.shop.svc.cluster.local.";

/// How long each packet is held. A visit takes twice as long: a connection is made first.
const DELAY: Duration = Duration::from_secs(2);

/// Connections to the Redis by its Service that are timed when everything is over.
const CONNECTIONS: u64 = 10;

/// How long the page waits for the Redis, and the probe for the page: longer than a slow visit takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The Redis keeps nothing on a disk.
const ARGUMENTS: [&str; 4] = ["--save", "", "--protected-mode", "no"];

pub fn a_slow_store_deviates_and_is_healed(scene: &Scene) -> Result<Completion> {
    let Scene { node, .. } = scene;
    deploy_controller(scene)?;
    node.deploy_dns()?;
    let page = deploy(scene)?;
    await_service(scene)?;
    node.plane().apply(&experiment().to_string())?;
    node.plane().apply(&run().to_string())?;
    let status = await_end(scene)?;

    ensure!(status.reason == Some(Reason::ProbeBroke), "{status:#?}");
    ensure!(
        (status.hypothesis, status.hypothesis_reason)
            == (Some(Hypothesis::Deviated), Some(HypothesisReason::ProbeBroke)),
        "{status:#?}"
    );
    ensure!(status.verdict == Some(Verdict::Confirmed), "{status:#?}");
    let probe = status.probes.first().context("the Run has a probe")?;
    ensure!(probe.baseline.is_some() && probe.broke > 0 && probe.recovered, "{status:#?}");
    eprintln!("baseline {:?} s, worst: {:?}", probe.baseline, probe.worst);

    is_healed(&page, scene)?;
    node.kubectl(
        "delete deployment/page deployment/redis service/page service/redis --namespace shop",
    )?;
    node.kubectl("delete run/slow-store experiment/slow-store --namespace shop")?;
    Ok(Completion::Completed)
}

/// The Redis and the page, each with a Service; the pod of the page.
fn deploy(scene: &Scene) -> Result<Pod> {
    let Scene { node, shop, .. } = scene;
    for (name, address, port) in [("redis", REDIS, REDIS_PORT), ("page", PAGE, TCP)] {
        node.kubectl(&format!(
            "create service clusterip {name} --namespace shop --clusterip {address} --tcp {port}:{port}"
        ))?;
    }
    let redis = Deployment::redis("redis", MAIN, &ARGUMENTS);
    shop.deploy(&redis.listening_on(REDIS_PORT))?;
    let store = format!("{REDIS_NAME}:{REDIS_PORT}");
    let job = RedisPage { bind: any(TCP), store, timeout: TIMEOUT, stale: false };
    let page = Deployment::new("page", vec![(MAIN, job.into())]);
    shop.deploy(&page.listening_on(TCP))
}

/// Waits until kube-proxy has heard of the page: until then the Service refuses connections.
fn await_service(scene: &Scene) -> Result<()> {
    let to = SocketAddr::from((PAGE, TCP));
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = scene.till.run(MAIN, TcpConnects { to, count: 1 }) {
        ensure!(Instant::now() < give_up, "{to} is not reached: {error:?}");
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn experiment() -> Value {
    let delay = DELAY.as_secs();
    json!({
        "apiVersion": "chaos-agent.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": { "name": "slow-store", "namespace": "shop" },
        "spec": {
            "hypothesis": "The page answers within two seconds while its store is slow",
            "targets": { "page": { "owner": { "kind": "Deployment", "name": "page" } } },
            "peers": { "store": { "service": "redis" } },
            "probes": [{
                "name": "page",
                "http": {
                    "url": format!("http://{PAGE}:{TCP}/"),
                    "timeout": format!("{}s", TIMEOUT.as_secs()),
                },
                "expect": "status == 200 && latency < duration('2s')",
                "every": "1s",
                "during": "Halt",
                // An emulated processor is away for a while now and then.
                "tolerate": 1,
                "recover": "2m",
            }],
            "steps": [{
                "name": "slow",
                "fault": {
                    "target": "page",
                    "do": format!("delay {delay}s egress tcp to @store port {REDIS_PORT}"),
                    "for": "10m",
                },
                "timeout": "2m",
            }],
        },
    })
}

fn run() -> Value {
    json!({
        "apiVersion": "chaos-agent.dev/v1alpha1",
        "kind": "Run",
        "metadata": { "name": "slow-store", "namespace": "shop" },
        "spec": { "experiment": "slow-store" },
    })
}

fn await_end(scene: &Scene) -> Result<RunStatus> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let run = scene.node.kubectl("get run slow-store --namespace shop --output=json")?;
        let run: Run = serde_json::from_str(&run).context("a Run")?;
        match run.status {
            Some(status) if status.phase == RunPhase::Finished => return Ok(status),
            status if Instant::now() > give_up => bail!("the Run has not ended: {status:#?}"),
            Some(_) | None => sleep(Duration::from_millis(500)),
        }
    }
}

/// The pod has no faults any more, its agent has counted some, and what it connects to answers before a packet that is
/// held would have arrived.
fn is_healed(page: &Pod, scene: &Scene) -> Result<()> {
    let pod =
        scene.node.kubectl(&format!("get pod {} --namespace shop --output=json", page.name))?;
    let pod: Value = serde_json::from_str(&pod).context("a pod")?;
    let faults = &pod["metadata"]["annotations"][FAULTS];
    ensure!(faults.is_null(), "the pod still has {faults}");
    let status = page.await_status(|status| status.phase == PodPhase::Ended)?;
    ensure!(injected(&status) > 0, "{status:#?}");
    let to = SocketAddr::from((REDIS, REDIS_PORT));
    let took = page.run(MAIN, TcpConnects { to, count: CONNECTIONS })?;
    ensure!(took.median() < DELAY.as_millis() as f64, "still slow: {took:?}");
    Ok(())
}
