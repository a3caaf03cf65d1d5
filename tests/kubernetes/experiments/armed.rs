//! A run with a real agent, from the object to what a pod's processes see, and back.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    job::TcpServe,
    kubelet::{Pod, PodSpec},
    process::Place,
    victim::Victim,
};
use serde_json::{Value, json};

use super::scene::{Controller, install, serve};
use crate::{
    agent::Agent,
    cluster::{Cluster, GRACE, SHOP, Server},
    features::{await_features, own},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What whoever halts a run may wait for.
const SOON: Duration = Duration::from_secs(2);

/// A cluster whose agent is known to the controller, with one pod after the other ready.
fn ready(cluster: &Cluster, pods: &[Pod]) -> Result<(Agent, PathBuf)> {
    let plane = &cluster.plane;
    let account = install(plane)?;
    for pod in pods {
        serve(plane, SHOP, &pod.name)?;
    }
    let agent = cluster.agent(GRACE)?;
    // As the DaemonSet and the kubelet would.
    plane.kubectl(&[
        "label",
        "pod",
        &own(),
        "--namespace=chaos-agent",
        "app.kubernetes.io/name=chaos-agent",
    ])?;
    serve(plane, "chaos-agent", &own())?;
    await_features(cluster)?;
    Ok((agent, account))
}

/// Makes a run called `run`.
fn run(cluster: &Cluster, inline: &Value) -> Result<()> {
    let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "run", "namespace": SHOP }, "spec": { "inline": inline } });
    cluster.plane.apply(&run.to_string())?;
    Ok(())
}

/// Its status, once it is as expected.
fn await_status(cluster: &Cluster, expected: impl Fn(&Value) -> bool) -> Result<Value> {
    let get = ["get", "run", "run", "--namespace", SHOP, "--output=json"];
    let give_up = Instant::now() + PATIENCE;
    loop {
        let run: Value = serde_json::from_str(&cluster.plane.kubectl(&get)?)?;
        let status = &run["status"];
        if expected(status) {
            return Ok(status.clone());
        }
        ensure!(Instant::now() < give_up, "{status:#}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a Run that refuses what one pod connects, and waits until that is armed.
fn refuse_connects(cluster: &Cluster, time: &str) -> Result<()> {
    let fault = json!({ "target": "any", "do": "fail connect with ECONNREFUSED", "for": time });
    run(
        cluster,
        &json!({
            "targets": { "any": { "pods": {} } },
            "steps": [{ "name": "refuse", "fault": fault }],
        }),
    )?;
    await_status(cluster, |status| status["targets"]["armed"] == 1)?;
    Ok(())
}

#[test]
fn the_picked_pod_is_broken_counted_and_healed_by_a_halt() -> Result<()> {
    let cluster = Cluster::start()?;
    let plane = &cluster.plane;
    let kubelet = cluster.kubelet()?;
    let pods =
        [kubelet.run(&PodSpec::new(SHOP, "web-0"))?, kubelet.run(&PodSpec::new(SHOP, "web-1"))?];
    let servers = [Server::start(&pods[0])?, Server::start(&pods[1])?];
    let (_agent, account) = ready(&cluster, &pods)?;
    let _controller = Controller::start(&account, "a")?;

    refuse_connects(&cluster, "5m")?;
    let broken = |index: usize| -> Result<u64> {
        Ok(servers[index].connect(&pods[index], "main", 20)?.failed())
    };
    let seen = [broken(0)?, broken(1)?];
    ensure!(
        seen == [20, 0] || seen == [0, 20],
        "{seen:?}: one pod is picked, and all of its connects fail"
    );
    let counted = await_status(&cluster, |status| status["ledger"]["injected"] == 20)?;
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
    let ended = await_status(&cluster, |status| status["phase"] == "Finished")?;
    assert_eq!(ended["reason"], "Halted");
    assert_eq!(ended["verdict"], "Confirmed", "{}", ended["verdictMessage"]);
    Ok(())
}

#[test]
fn a_step_that_is_done_to_its_end_is_confirmed() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods = [kubelet.run(&PodSpec::new(SHOP, "web-0"))?];
    let server = Server::start(&pods[0])?;
    let (_agent, account) = ready(&cluster, &pods)?;
    let _controller = Controller::start(&account, "a")?;
    refuse_connects(&cluster, "20s")?;
    assert_eq!(server.connect(&pods[0], "main", 20)?.failed(), 20);
    let ended = await_status(&cluster, |status| status["phase"] == "Finished")?;
    assert_eq!(ended["reason"], "Completed", "{ended:#}");
    assert_eq!(ended["verdict"], "Confirmed", "{ended:#}");
    assert_eq!(ended["ledger"]["injected"], 20, "{ended:#}");
    Ok(())
}

#[test]
fn a_probe_sees_what_the_kernel_breaks_and_the_pod_is_healed() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods = [kubelet.run(&PodSpec::new(SHOP, "web-0"))?];
    // On this machine's loopback, where the controller reaches it; in the pod's cgroup, where the agent breaks it.
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Victim::start(TcpServe { bind }, Place::here().cgroup(pods[0].cgroup()))?;
    let (_agent, account) = ready(&cluster, &pods)?;
    let _controller = Controller::start_with(&account, "a", &["--probe-networks=127.0.0.0/8"])?;
    let probe = json!({ "name": "web", "every": "1s", "during": "Halt", "recover": "1m",
        "tcp": { "address": server.address().to_string(), "timeout": "1s" } });
    run(
        &cluster,
        &json!({
            "targets": { "any": { "pods": {} } },
            "probes": [probe],
            "steps": [{ "name": "cut", "fault": { "target": "any", "do": "drop egress tcp", "for": "5m" } }],
        }),
    )?;
    let ended = await_status(&cluster, |status| status["phase"] == "Finished")?;
    assert_eq!(ended["reason"], "ProbeBroke", "{ended:#}");
    assert_eq!(ended["verdict"], "Confirmed", "{ended:#}");
    assert_eq!(ended["hypothesis"], "Deviated", "{ended:#}");
    assert_eq!(ended["probes"][0]["recovered"], true, "{ended:#}");
    TcpStream::connect_timeout(&server.address(), PATIENCE)
        .context("connect to what was healed")?;
    Ok(())
}
