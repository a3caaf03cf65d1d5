//! The samples with probes and those of cases, as they are in the manifests, beside a service that is made to break.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_api::{
    Policy,
    kinds::{Hypothesis, HypothesisReason, Reason, Run, RunPhase, RunStatus, StepPhase, Verdict},
};
use chaos_kube::FAULTS;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{
    scene::{Controller, NODES, SHOP, Scene, agent_with, serve},
    service::{Answer, Service},
};

/// Where Prometheus answers queries.
const QUERY: &str = "/api/v1/query";

/// Applies a sample as it is.
fn apply(scene: &Scene, name: &str) -> Result<()> {
    apply_with(scene, name, &[])
}

/// Applies a sample with other times and addresses in place of those that it has.
fn apply_with(scene: &Scene, name: &str, changes: &[(&str, &str)]) -> Result<()> {
    let path = xtask::paths::workspace().join("manifests/samples").join(name);
    let mut sample = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (before, after) in changes {
        ensure!(sample.contains(before), "{name} has no {before}");
        sample = sample.replace(before, after);
    }
    scene.plane.apply(&sample)?;
    Ok(())
}

/// Pods that serve, each with an address.
fn pods(scene: &Scene, prefix: &str, labels: &Value, count: usize) -> Result<()> {
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": SHOP, "labels": labels },
            "spec": { "nodeName": "node-a", "containers": [{ "name": "main", "image": "none" }] } });
        scene.plane.apply(&pod.to_string())?;
        serve(&scene.plane, SHOP, &name)?;
        let address = format!("10.244.0.{}", 10 + number);
        set_status(
            scene,
            "pod",
            &name,
            &json!({ "podIP": address, "podIPs": [{ "ip": address }] }),
        )?;
    }
    Ok(())
}

fn set_status(scene: &Scene, kind: &str, name: &str, status: &Value) -> Result<()> {
    let patch = ["patch", kind, name, "--namespace", SHOP, "--subresource=status", "--type=merge"];
    let status = json!({ "status": status }).to_string();
    scene.plane.kubectl(&[&patch[..], &["--patch", &status]].concat())?;
    Ok(())
}

/// What came of a run.
type Outcome = (Option<Reason>, Option<Verdict>, Option<HypothesisReason>);

fn outcome(status: &RunStatus) -> Outcome {
    (status.reason, status.verdict, status.hypothesis_reason)
}

/// A run that is made in the namespace of the agents.
fn run_of_agents(name: &str, params: &Value) -> Result<Run> {
    let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": name }, "spec": { "experiment": "cut-masters", "params": params } });
    serde_json::from_value(run).context("a run")
}

fn controller(scene: &Scene, prometheus: &Service) -> Result<Controller> {
    let prometheus = format!("--prometheus={}", prometheus.url());
    Controller::start_with(&scene.account, "a", &["--probe-networks=127.0.0.0/8", &prometheus])
}

#[test]
fn pods_are_deleted_and_the_service_is_believed_or_must_break() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    service.set(QUERY, Answer::number(1.0));
    let _controller = controller(&scene, &service)?;
    scene.plane.kubectl(&[
        "annotate",
        "namespace",
        SHOP,
        "chaos-agent.dev/allow-verbs=default, delete pods",
    ])?;
    apply(&scene, "probes/rights.yaml")?;
    pods(&scene, "ratings", &json!({ "app": "ratings", "version": "v2" }), 4)?;
    // The tests play whoever keeps its pods.
    let template = json!({ "metadata": { "labels": { "app": "kept" } },
        "spec": { "containers": [{ "name": "main", "image": "none" }] } });
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "ratings-v2", "namespace": SHOP },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "kept" } }, "template": template } });
    scene.plane.apply(&deployment.to_string())?;
    set_status(&scene, "deployment", "ratings-v2", &json!({ "observedGeneration": 1 }))?;
    apply(&scene, "probes/half-of-ratings.yaml")?;
    scene.run("half", json!({ "experiment": "half-of-ratings" }))?;
    let status = scene.await_end("half")?;
    assert_eq!(
        (status.reason, status.verdict),
        (Some(Reason::Completed), Some(Verdict::Confirmed)),
        "{status:#?}"
    );
    assert_eq!(status.hypothesis, Some(Hypothesis::Held), "{status:#?}");
    assert_eq!(status.summary.targets, "2/2");

    apply(&scene, "probes/all-of-ratings.yaml")?;
    scene.run("all", json!({ "experiment": "all-of-ratings" }))?;
    scene.await_run("all", |status| {
        status.steps.first().is_some_and(|step| step.phase == StepPhase::Done)
    })?;
    service.set(QUERY, Answer::number(0.4));
    scene.await_run("all", |status| status.probes[0].broke > 0)?;
    service.set(QUERY, Answer::number(1.0));
    let status = scene.await_end("all")?;
    assert_eq!(status.hypothesis, Some(Hypothesis::Held), "{status:#?}");
    assert_eq!(status.summary.targets, "2/2");
    assert_eq!(status.probes[0].value, Some(1.0));
    Ok(())
}

#[test]
fn a_page_that_loses_patience_ends_the_run_and_is_well_again() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, &service)?;
    pods(&scene, "reviews", &json!({ "app": "reviews", "version": "v3" }), 1)?;
    pods(&scene, "productpage", &json!({ "app": "productpage", "version": "v1" }), 2)?;
    apply(&scene, "probes/slow-reviews.yaml")?;
    let params = json!({ "url": service.url() });
    scene.run("slow", json!({ "experiment": "slow-reviews", "params": params }))?;
    scene.await_run("slow", |status| status.targets.armed == 2 && status.ledger.matched > 0)?;
    let texts = scene.texts()?;
    let text = texts.values().next().context("a text")?;
    assert!(text.contains("delay 5s egress tcp to 10.244.0.10 port 9080"), "{text}");
    // What the kernel would do.
    service.set("/productpage", Answer { after: Duration::from_secs(5), ..Answer::of(200) });
    scene.await_texts(0)?;
    service.heal();
    let status = scene.await_end("slow")?;
    assert_eq!(
        (status.reason, status.verdict, status.hypothesis, status.hypothesis_reason),
        (
            Some(Reason::ProbeBroke),
            Some(Verdict::Confirmed),
            Some(Hypothesis::Deviated),
            Some(HypothesisReason::ProbeBroke)
        ),
        "{status:#?}"
    );
    assert!(status.probes.iter().all(|probe| probe.recovered), "{status:#?}");
    assert!(service.asked("/login") >= 3);
    Ok(())
}

#[test]
fn masters_are_cut_off_where_agents_do_not_protect_them() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, &service)?;
    scene.plane.kubectl(&["label", "namespace", "kube-system", "chaos-agent.dev/enabled=true"])?;
    for component in ["kube-scheduler", "kube-controller-manager"] {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": component, "namespace": "kube-system", "labels": { "component": component } },
            "spec": { "nodeName": "node-a", "containers": [{ "name": "main", "image": "none" }] } });
        scene.plane.apply(&pod.to_string())?;
        serve(&scene.plane, "kube-system", component)?;
    }
    let backends = [true, true, true, false].map(|up| json!({ "up": up }));
    let backends = json!({ "backends": backends }).to_string();
    service.set("/vip", Answer { body: backends, ..Answer::of(200) });
    let times = [("for: 2m", "for: 15s"), ("for: 90s", "for: 2s"), ("every: 2s", "every: 1s")];
    apply_with(&scene, "cases/cut-masters.yaml", &times)?;
    let runs: Api<Run> = Api::namespaced(scene.admin.clone(), "chaos-agent");
    let params = json!({ "app": service.url(), "vip": format!("{}/vip", service.url()) });
    let run = |name: &str| -> Result<()> {
        let run = run_of_agents(name, &params)?;
        scene.runtime.block_on(runs.create(&PostParams::default(), &run))?;
        Ok(())
    };
    let await_run = |name: &str, expected: &dyn Fn(&RunStatus) -> bool| {
        scene.await_run_in(&runs, "kube-system", name, expected)
    };
    let has_ended = |status: &RunStatus| status.phase == RunPhase::Finished;

    run("protected")?;
    let refused = await_run("protected", &has_ended)?;
    ensure!(refused.reason == Some(Reason::Refused), "{refused:#?}");
    let told = refused.exceptions.iter().any(|one| one.message.contains("kube-system"));
    ensure!(told, "{refused:#?}");

    for node in NODES {
        agent_with(&scene.plane, node, &Policy::default().protecting(BTreeSet::new()))?;
    }
    run("cut")?;
    await_run("cut", &|status| status.targets.armed == 2)?;
    let text = ["get", "pod", "kube-scheduler", "--namespace=kube-system"];
    let output =
        format!("--output=jsonpath={{.metadata.annotations.{}}}", FAULTS.replace('.', "\\."));
    let text = scene.plane.kubectl(&[&text[..], &[&output]].concat())?;
    ensure!(text.contains("\ndrop egress tcp to port 6443 for "), "{text}");
    ensure!(text.ends_with(" as chaos-agent/cut/cut guarded"), "{text}");
    let status = await_run("cut", &has_ended)?;
    let held = (Some(Reason::Completed), Some(Verdict::Confirmed), Some(HypothesisReason::AllHeld));
    ensure!(outcome(&status) == held, "{status:#?}");
    Ok(())
}

#[test]
fn a_store_is_lost_a_cluster_is_split_and_a_pod_is_far_away() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, &service)?;
    let nodes = |partitions: &Value| {
        let node = json!({ "running": true, "partitions": partitions });
        Answer { body: json!([node]).to_string(), ..Answer::of(200) }
    };
    service.set(QUERY, Answer::number(1_000.0));
    service.set("/api/nodes", nodes(&json!([])));
    let verbs = "chaos-agent.dev/allow-verbs=default, delete pods";
    scene.plane.kubectl(&["annotate", "namespace", SHOP, verbs])?;
    let secret = ["create", "secret", "generic", "rabbit", "--namespace", SHOP];
    scene.plane.kubectl(&[&secret[..], &["--from-literal=auth=Basic dXNlcjpwYXNz"]].concat())?;
    apply(&scene, "probes/rights.yaml")?;
    let url = service.url();
    for (name, changes) in [
        ("lost-store", &[("for: 2m", "for: 30s"), ("every: 5s", "every: 1s")][..]),
        (
            "split-brain",
            &[
                ("http://rabbitmq.shop:15672", url.as_str()),
                ("for: 30s", "for: 4s"),
                ("recover: 5m", "recover: 3s"),
                ("every: 2s", "every: 1s"),
            ],
        ),
        ("far-away", &[("for: 10s", "for: 20s"), ("www.example.com", "localhost")]),
    ] {
        apply_with(&scene, &format!("cases/{name}.yaml"), changes)?;
    }
    pods(&scene, "tikv", &json!({ "app.kubernetes.io/component": "tikv" }), 3)?;
    pods(&scene, "rabbit", &json!({ "app": "rabbitmq" }), 3)?;
    pods(&scene, "ubuntu", &json!({ "app": "ubuntu" }), 2)?;
    pods(&scene, "ubuntu2", &json!({ "app": "ubuntu2" }), 1)?;
    for name in ["lost-store", "split-brain", "far-away"] {
        scene.run(name, json!({ "experiment": name }))?;
    }

    scene.await_run("far-away", |status| status.targets.armed == 1)?;
    let texts = scene.texts()?;
    let text = texts.values().find(|text| text.contains("correlation")).context("a text")?;
    for part in
        ["delay 90ms jitter 90ms", "correlation 25%", "10.244.0.10", "8.8.0.0/16", "127.0.0.1"]
    {
        ensure!(text.contains(part), "{part}: {text}");
    }

    scene.await_run("lost-store", |status| status.targets.armed == 1)?;
    service.set(QUERY, Answer::number(500.0));
    scene.await_run("lost-store", |status| status.probes[0].broke > 0)?;
    service.set(QUERY, Answer::number(1_000.0));

    // What was found when this was tried on a real cluster: its nodes do not see each other any more.
    let is_done = |status: &RunStatus| status.steps[0].phase == StepPhase::Done;
    scene.await_run("split-brain", |status| !status.steps.is_empty() && is_done(status))?;
    service.set("/api/nodes", nodes(&json!(["rabbit@b"])));

    let completed = Some(Reason::Completed);
    for (name, hypothesis) in [
        ("far-away", None),
        ("lost-store", Some(HypothesisReason::AllHeld)),
        ("split-brain", Some(HypothesisReason::NotRecovered)),
    ] {
        let status = scene.await_end(name)?;
        let expected = (completed, Some(Verdict::Confirmed), hypothesis);
        ensure!(outcome(&status) == expected, "{name}: {status:#?}");
        ensure!(status.summary.targets == "1/1", "{name}: {status:#?}");
        if name == "lost-store" {
            ensure!(status.probes[1].failed == 0, "a third is left: {status:#?}");
        }
    }
    Ok(())
}
