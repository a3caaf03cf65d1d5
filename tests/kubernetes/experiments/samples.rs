//! The samples with probes, as they are in the manifests, beside a service that is made to break.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos_api::kinds::{Hypothesis, HypothesisReason, Reason, StepPhase, Verdict};
use serde_json::{Value, json};

use super::{
    scene::{Controller, SHOP, Scene, serve},
    service::{Answer, Service},
};

/// Where Prometheus answers queries.
const QUERY: &str = "/api/v1/query";

/// Applies a sample as it is.
fn apply(scene: &Scene, name: &str) -> Result<()> {
    let path = xtask::paths::workspace().join("manifests/samples/probes").join(name);
    scene.plane.kubectl(&["apply", "--filename", &path.display().to_string()])?;
    Ok(())
}

/// Pods that serve, each with an address.
fn pods(scene: &Scene, app: &str, version: &str, count: usize) -> Result<()> {
    for number in 0..count {
        let name = format!("{app}-{version}-{number}");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": SHOP, "labels": { "app": app, "version": version } },
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
    apply(&scene, "rights.yaml")?;
    pods(&scene, "ratings", "v2", 4)?;
    // The tests play whoever keeps its pods.
    let template = json!({ "metadata": { "labels": { "app": "kept" } },
        "spec": { "containers": [{ "name": "main", "image": "none" }] } });
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "ratings-v2", "namespace": SHOP },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "kept" } }, "template": template } });
    scene.plane.apply(&deployment.to_string())?;
    set_status(&scene, "deployment", "ratings-v2", &json!({ "observedGeneration": 1 }))?;
    apply(&scene, "half-of-ratings.yaml")?;
    scene.run("half", json!({ "experiment": "half-of-ratings" }))?;
    let status = scene.await_end("half")?;
    assert_eq!(
        (status.reason, status.verdict),
        (Some(Reason::Completed), Some(Verdict::Confirmed)),
        "{status:#?}"
    );
    assert_eq!(status.hypothesis, Some(Hypothesis::Held), "{status:#?}");
    assert_eq!(status.summary.targets, "2/2");

    apply(&scene, "all-of-ratings.yaml")?;
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
    pods(&scene, "reviews", "v3", 1)?;
    pods(&scene, "productpage", "v1", 2)?;
    apply(&scene, "slow-reviews.yaml")?;
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
