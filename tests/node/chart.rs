//! Follows docs/install.md with helm while a Run goes on: the chart takes over what kustomize has installed, is upgraded,
//! uninstalled, installed again, and halted.

mod prometheus;

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_api::kinds::{Reason, Run, RunPhase, RunStatus};
use chaos_kube::{FAULTS, PodPhase, Status};
use chaos_tests::{
    helm::Helm,
    job::{BpfObjects, Pinged},
    node::Pod,
};
use libtest_mimic::Completion;
use serde_json::Value;

use self::prometheus::{METRICS, Prometheus};
use crate::{
    Test,
    experiments::PATIENCE,
    leave_out_what_takes_minutes,
    recovery::{goes_on, pings},
    scene::{ECHO, MAIN, Scene, hangman, is_hit},
};

pub const TESTS: &[(&str, Test)] = &[(
    "chart::a_run_outlives_an_upgrade_and_no_fault_outlives_the_chart",
    a_run_outlives_an_upgrade_and_no_fault_outlives_the_chart,
)];

const RUN: &str = "through";

/// What is left on purpose (`crds.keep`).
const KEPT: [&str; 2] = [
    "customresourcedefinition.apiextensions.k8s.io/experiments.chaos-agent.dev",
    "customresourcedefinition.apiextensions.k8s.io/runs.chaos-agent.dev",
];

fn a_run_outlives_an_upgrade_and_no_fault_outlives_the_chart(scene: &Scene) -> Result<Completion> {
    if let Some(left_out) = leave_out_what_takes_minutes() {
        return Ok(left_out);
    }
    let till = &scene.till;
    let helm = Helm::on(scene.node.plane())?;
    let observer = hangman(scene)?;
    take_over(scene, &helm)?;

    let sentence = format!("drop egress udp port {ECHO} for 30m");
    let ping = pings(scene)?;
    scene.chaos(&["run", "deploy/till", &sentence, "--name", RUN])?;
    let armed = till.await_status(is_armed_and_hit)?;
    let objects = bpf_objects(&observer)?;
    ensure!(objects.iter().any(|object| object.starts_with("bpf link ")), "{objects:#?}");

    upgrade(scene, &helm)?;
    let resumed = await_successor(till, &armed)?;
    goes_on(&armed, &resumed)?;
    is_running(scene)?;
    is_measured(scene)?;

    chart(&helm, "uninstall", &[])?;
    nothing_is_left(scene, &helm, &observer)?;
    is_broken_twice_and_healed(&ping.stop()?)?;
    // Nobody was there to take the text away, or to end the Run.
    ensure!(text(scene)?.is_some(), "the Run's text was taken away");
    is_running(scene)?;

    chart(&helm, "install", &[])?;
    await_all(scene)?;
    let again = await_successor(till, &resumed)?;
    goes_on(&armed, &again)?;

    scene.chaos(&["halt", "--cluster", "--reason", "uninstall", "--wait"])?;
    let patience = PATIENCE.as_secs();
    scene.node.kubectl(&format!(
        "wait runs.chaos-agent.dev --all --all-namespaces --for=condition=Finished --timeout={patience}s"
    ))?;
    let status = run(scene)?;
    ensure!(status.reason == Some(Reason::Halted), "{status:#?}");
    Ok(Completion::Completed)
}

/// Installs the chart over what kustomize has installed: the agent goes on as it is.
fn take_over(scene: &Scene, helm: &Helm<'_>) -> Result<()> {
    // Where the controller's manifests were deleted, the kinds may not have gone yet.
    scene.node.kubectl(&format!(
        "delete crd/experiments.chaos-agent.dev crd/runs.chaos-agent.dev --ignore-not-found --timeout={}s",
        PATIENCE.as_secs()
    ))?;
    let before = agents(scene)?;
    chart(helm, "install", &["--take-ownership", "--force-conflicts"])?;
    await_all(scene)?;
    let after = agents(scene)?;
    ensure!(before == after, "the agent {before} was started again: {after}");
    Ok(())
}

/// Upgrades agent and controllers, each to pods that say what they count.
fn upgrade(scene: &Scene, helm: &Helm<'_>) -> Result<()> {
    let before = agents(scene)?;
    // Without health: the kubelet would start again what an emulated processor has no time for.
    let [agent, controller] = ["agent", "controller"]
        .map(|who| format!("--set={who}.extraArgs[0]=--metrics-address=0.0.0.0:{METRICS}"));
    let options = ["--reset-then-reuse-values", "--force-conflicts", agent.as_str(), &controller];
    chart(helm, "upgrade", &options)?;
    await_all(scene)?;
    let after = agents(scene)?;
    ensure!(before != after, "the agent {before} was not replaced");
    Ok(())
}

/// Runs helm on the release.
fn chart(helm: &Helm<'_>, verb: &str, options: &[&str]) -> Result<String> {
    let path = Helm::chart().display().to_string();
    let path = if verb == "uninstall" { None } else { Some(path.as_str()) };
    let words = [verb, "chaos-agent"].into_iter().chain(path);
    let words = words.chain(["--namespace=chaos-agent"]).chain(options.iter().copied());
    helm.run(&words.collect::<Vec<_>>())
}

/// Waits until agent and controllers are as they were last applied, and no others are there.
fn await_all(scene: &Scene) -> Result<()> {
    scene.node.await_agent()?;
    scene.node.kubectl(&format!(
        "rollout status deployment/chaos-controller --namespace chaos-agent --timeout {}s",
        PATIENCE.as_secs()
    ))?;
    Ok(())
}

/// The uids of the agents' pods.
fn agents(scene: &Scene) -> Result<String> {
    scene.node.kubectl(
        "get pods --namespace chaos-agent --selector=app.kubernetes.io/name=chaos-agent \
         --output=jsonpath={.items[*].metadata.uid}",
    )
}

/// Waits until what was armed before is armed by another agent.
fn await_successor(pod: &Pod, before: &Status) -> Result<Status> {
    let counted_since =
        |status: &Status| status.faults.first().and_then(|fault| fault.counted_since.clone());
    let earlier = counted_since(before);
    pod.await_status(|status| status.phase == PodPhase::Armed && counted_since(status) != earlier)
}

fn is_armed_and_hit(status: &Status) -> bool {
    status.phase == PodPhase::Armed && is_hit(status)
}

fn run(scene: &Scene) -> Result<RunStatus> {
    let run = scene.node.kubectl(&format!("get run {RUN} --namespace shop --output=json"))?;
    let run: Run = serde_json::from_str(&run).context("a Run")?;
    run.status.context("the Run has no status")
}

fn is_running(scene: &Scene) -> Result<()> {
    let status = run(scene)?;
    ensure!(status.phase == RunPhase::Running, "the Run does not go on: {status:#?}");
    Ok(())
}

/// Prometheus scrapes the agent and both controllers, and has heard what the Run has done.
fn is_measured(scene: &Scene) -> Result<()> {
    let prometheus = Prometheus::start(scene)?;
    prometheus.await_number("sum(up)", |pods| pods == 3.0)?;
    prometheus.await_number("sum(chaos_controller_leader)", |leaders| leaders == 1.0)?;
    let injected = format!("sum(chaos_fault_events_total{{run=\"{RUN}\",outcome=\"injected\"}})");
    prometheus.await_number(&injected, |events| events > 0.0)
}

/// The till's text of faults.
fn text(scene: &Scene) -> Result<Option<String>> {
    let pod = scene
        .node
        .kubectl(&format!("get pod {} --namespace shop --output=json", scene.till.name))?;
    let pod: Value = serde_json::from_str(&pod).context("a pod")?;
    Ok(pod["metadata"]["annotations"][FAULTS].as_str().map(str::to_owned))
}

/// Waits until the pods of the chart have gone. Then the cluster has nothing of it but the kinds, and the kernel nothing.
fn nothing_is_left(scene: &Scene, helm: &Helm<'_>, observer: &Pod) -> Result<()> {
    let patience = PATIENCE.as_secs();
    scene.node.kubectl(&format!(
        "wait pods --selector=app.kubernetes.io/part-of=chaos-agent --namespace chaos-agent --for=delete \
         --timeout={patience}s"
    ))?;
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (objects, programs) = (helm.objects()?, bpf_objects(observer)?);
        if objects == KEPT && programs.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "left: {objects:#?}, {programs:#?}");
        sleep(Duration::from_millis(500));
    }
}

/// The node's BPF objects, but for those by which container runtimes guard devices.
fn bpf_objects(observer: &Pod) -> Result<BTreeSet<String>> {
    let mut objects = observer.run(MAIN, BpfObjects {})?;
    objects.retain(|object| !object.ends_with("(BPF_PROG_TYPE_CGROUP_DEVICE)"));
    Ok(objects)
}

/// Pings that were answered, broken, answered while there was no agent, broken by the next one, and answered at the end.
fn is_broken_twice_and_healed(pinged: &Pinged) -> Result<()> {
    let spans = &pinged.timeline;
    let broken = spans.iter().filter(|span| !span.is_ok()).count();
    ensure!(broken >= 2 && pinged.recovered_at().is_some(), "{spans:#?}");
    Ok(())
}
