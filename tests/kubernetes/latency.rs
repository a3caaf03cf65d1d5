//! How long it takes from writing the annotation to the first fault that a process sees.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chaos_kube::{FAULTS, PodPhase, STATUS, Status};
use chaos_tests::{
    clock::boottime_ns,
    control_plane::Identity,
    job::{Call, Repeat, Repeated, TcpServe},
    kubelet::PodSpec,
    machine::Quiet,
    victim::Victim,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    agent::client,
    cluster::{Cluster, GRACE, SHOP},
};

const RUNS: usize = 100;

/// When a process has not seen its fault by then, the run failed.
const LONGEST: Duration = Duration::from_secs(10);

#[test]
fn from_annotation_to_first_fault() -> Result<()> {
    let cluster = Cluster::start_with(Quiet::acquire()?)?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Victim::start(TcpServe { bind }, pod.network())?;
    let _agent = cluster.agent(GRACE)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(client(cluster.plane.kubeconfig(Identity::Admin)))?;
    let pods: Api<Pod> = Api::namespaced(client, SHOP);
    let write = |faults: Option<&str>| -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { FAULTS: faults } } }));
        runtime.block_on(pods.patch_metadata("web-0", &PatchParams::default(), &patch))?;
        Ok(())
    };
    let await_phase = |phase: PodPhase| -> Result<()> {
        let give_up = Instant::now() + LONGEST;
        while Instant::now() < give_up {
            let pod = runtime.block_on(pods.get_metadata("web-0"))?;
            let text = pod.metadata.annotations.unwrap_or_default().remove(STATUS);
            let status: Option<Status> =
                text.map(|text| serde_json::from_str(&text)).transpose()?;
            if status.is_some_and(|status| status.phase == phase) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the status did not become {phase:?} within {LONGEST:?}")
    };

    let mut took = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let connect = Call {
            what: Repeated::Connect {
                to: server.address(),
                nonblocking: false,
                timeout: Duration::from_secs(10),
            },
            repeat: Repeat::UntilStopped,
            threads: 1,
            interval: Duration::from_micros(500),
        };
        let victim = Victim::start(connect, pod.place("main"))?;
        let written_at = boottime_ns();
        write(Some("fail connect with ECONNREFUSED"))?;
        await_phase(PodPhase::Armed)?;
        // The status is written after the fact; the next connect is made soon after.
        thread::sleep(Duration::from_millis(200));
        let seen = victim.stop()?.total().first_error_at.context("no fault was seen")?;
        took.push(Duration::from_nanos(seen - written_at));
        write(None)?;
        await_phase(PodPhase::Ended)?;
    }
    took.sort_unstable();
    println!(
        "annotation to first fault, {RUNS} runs: p50 {:?}, p99 {:?}, max {:?}",
        took[RUNS / 2 - 1],
        took[RUNS * 99 / 100 - 1],
        took[RUNS - 1]
    );
    Ok(())
}
