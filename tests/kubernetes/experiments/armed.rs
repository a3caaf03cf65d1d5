//! A run with a real agent, from the object to what a pod's processes see, and back.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::kubelet::PodSpec;
use serde_json::{Value, json};

use super::scene::{Controller, install, serve};
use crate::{
    cluster::{Cluster, GRACE, SHOP, Server},
    features::{await_features, own},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What whoever halts a run may wait for.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn the_picked_pod_is_broken_counted_and_healed_by_a_halt() -> Result<()> {
    let cluster = Cluster::start()?;
    let plane = &cluster.plane;
    let kubelet = cluster.kubelet()?;
    let pods =
        [kubelet.run(&PodSpec::new(SHOP, "web-0"))?, kubelet.run(&PodSpec::new(SHOP, "web-1"))?];
    let servers = [Server::start(&pods[0])?, Server::start(&pods[1])?];
    let account = install(plane)?;
    for pod in &pods {
        serve(plane, SHOP, &pod.name)?;
    }
    let _agent = cluster.agent(GRACE)?;
    // As the DaemonSet and the kubelet would.
    plane.kubectl(&[
        "label",
        "pod",
        &own(),
        "--namespace=chaos-agent",
        "app.kubernetes.io/name=chaos-agent",
    ])?;
    serve(plane, "chaos-agent", &own())?;
    await_features(&cluster)?;
    let _controller = Controller::start(&account, "a")?;

    let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "run", "namespace": SHOP },
        "spec": { "inline": {
            "targets": { "any": { "pods": {} } },
            "steps": [{ "name": "refuse",
                        "fault": { "target": "any", "do": "fail connect with ECONNREFUSED", "for": "5m" } }] } } });
    plane.apply(&run.to_string())?;
    let status = || -> Result<Value> {
        let text = plane.kubectl(&["get", "run", "run", "--namespace", SHOP, "--output=json"])?;
        let run: Value = serde_json::from_str(&text)?;
        Ok(run["status"].clone())
    };
    let await_status = |expected: &dyn Fn(&Value) -> bool| -> Result<Value> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let status = status()?;
            if expected(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < give_up, "{status:#}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    await_status(&|status| status["targets"]["armed"] == 1)?;
    let broken = |index: usize| -> Result<u64> {
        Ok(servers[index].connect(&pods[index], "main", 20)?.failed())
    };
    let seen = [broken(0)?, broken(1)?];
    ensure!(
        seen == [20, 0] || seen == [0, 20],
        "{seen:?}: one pod is picked, and all of its connects fail"
    );
    let counted = await_status(&|status| status["ledger"]["injected"] == 20)?;
    assert_eq!(counted["ledger"]["matched"], 20);
    assert_eq!(counted["summary"]["targets"], "1/1");

    let halt = json!({ "spec": { "halt": true } }).to_string();
    plane.kubectl(&[
        "patch",
        "run",
        "run",
        "--namespace",
        SHOP,
        "--type=merge",
        "--patch",
        &halt,
    ])?;
    let halted = Instant::now();
    let picked = seen.iter().position(|failed| *failed > 0).context("one is picked")?;
    while broken(picked)? > 0 {
        ensure!(halted.elapsed() < SOON, "broken {SOON:?} after the halt");
    }
    let ended = await_status(&|status| status["phase"] == "Finished")?;
    assert_eq!(ended["reason"], "Halted");
    assert_eq!(ended["verdict"], "Confirmed", "{}", ended["verdictMessage"]);
    Ok(())
}
