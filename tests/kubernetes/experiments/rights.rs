//! What whoever has the controller's token can do: write one annotation in namespaces that allow it, and nothing else.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use chaos_kube::{FAULTS, STATUS};
use chaos_tests::control_plane::ControlPlane;
use serde_json::{Value, json};

use super::scene::{SHOP, Scene};
use crate::{
    agent::client,
    rights::request::{
        Answer,
        Answer::{Done, NoRight, Policy},
        Request, Verb,
    },
};

/// A policy is in force about a second after it was applied.
const PATIENCE: Duration = Duration::from_secs(60);

const ANNOTATION: Answer = Policy("may change chaos-agent.dev/faults only");
const METADATA: Answer =
    Policy("of a pod's metadata the controller may change its annotation only");
const POD_STATUS: Answer = Policy("may not change the status of a pod");
const NAMESPACE: Answer = Policy("in namespaces with the label chaos-agent.dev/enabled=true only");
const SPEAKER: Answer = Policy("events of runs only, in its own name");

#[test]
fn the_controllers_pods_are_restricted() -> Result<()> {
    let plane = ControlPlane::start()?;
    for directory in ["manifests/base", "manifests/controller"] {
        let path = xtask::paths::workspace().join(directory).display().to_string();
        plane.kubectl(&["apply", "--kustomize", &path])?;
    }
    let deployment =
        ["get", "deployment", "chaos-controller", "--namespace=chaos-agent", "--output=json"];
    let deployment: Value = serde_json::from_str(&plane.kubectl(&deployment)?)?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "strict",
        "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    plane.apply(&namespace.to_string())?;
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "it", "namespace": "strict" },
        "spec": deployment["spec"]["template"]["spec"] });
    plane.apply(&pod.to_string())?;
    pod["metadata"]["name"] = json!("other");
    pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let refusal = plane.apply(&pod.to_string()).expect_err("it may be root").to_string();
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
    Ok(())
}

#[test]
fn the_controller_may_do_only_what_its_manifests_grant() -> Result<()> {
    let scene = Scene::set()?;
    let Scene { plane, runtime, account, .. } = &scene;
    let controller = runtime.block_on(client(account))?;
    plane.kubectl(&["create", "namespace", "quiet"])?;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "till", "namespace": "quiet",
        "annotations": { FAULTS: "drop" } }, "spec": { "containers": [{ "name": "main", "image": "none" }] } });
    plane.apply(&pod.to_string())?;
    let expect = |request: Request, expected: Answer| {
        runtime.block_on(request.expect(&controller, expected))
    };
    let of_pod = |namespace: &str, name: &str, change: Value| {
        Request::to("pods", namespace, name, Verb::MergeOf("status", change))
    };
    let annotated = |annotations: Value| json!({ "metadata": { "annotations": annotations } });
    let give_up = Instant::now() + PATIENCE;
    let is_refused = || {
        expect(of_pod(SHOP, "web-1", annotated(json!({ "team": "blue" }))).dry_run(), ANNOTATION)
    };
    while let Err(error) = is_refused() {
        if Instant::now() > give_up {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(200));
    }

    let faults = |text: Value| annotated(json!({ FAULTS: text }));
    let event = |kind: &str, controller: &str| {
        json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "generateName": "x-" },
            "eventTime": "2026-11-28T10:14:00.000000Z", "action": "Run", "reason": "Halted", "type": "Normal",
            "note": "it", "reportingController": controller, "reportingInstance": "a",
            "regarding": { "kind": kind, "namespace": SHOP, "name": "it" } })
    };
    let events = |event: Value| {
        Request::at("/apis/events.k8s.io/v1/namespaces/shop/events", "", Verb::Create(event))
    };
    let runs = "/apis/chaos-agent.dev/v1alpha1/namespaces/shop/runs";
    let lease =
        |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    for (request, expected) in [
        (of_pod(SHOP, "web-0", faults(json!("drop 1%"))), Done),
        (of_pod(SHOP, "web-0", faults(Value::Null)), Done),
        (of_pod("quiet", "till", faults(json!("corrupt"))), NAMESPACE),
        (of_pod("quiet", "till", faults(Value::Null)), Done),
        (of_pod(SHOP, "web-0", annotated(json!({ STATUS: "{}" }))), ANNOTATION),
        (of_pod(SHOP, "web-0", json!({ "metadata": { "labels": { "app": "db" } } })), METADATA),
        (of_pod(SHOP, "web-0", json!({ "metadata": { "finalizers": ["a.example/b"] } })), METADATA),
        (of_pod(SHOP, "web-0", json!({ "status": { "phase": "Failed" } })), POD_STATUS),
        (Request::to("pods", SHOP, "web-0", Verb::Merge(faults(json!("drop")))), NoRight),
        (Request::to("pods", SHOP, "web-0", Verb::Delete), NoRight),
        (Request::to("pods", SHOP, "", Verb::List), Done),
        (Request::to("secrets", SHOP, "", Verb::List), NoRight),
        (Request::to("configmaps", SHOP, "", Verb::List), NoRight),
        (events(event("Run", "chaos-controller")), Done),
        (events(event("Pod", "chaos-controller")), SPEAKER),
        (events(event("Run", "kubelet")), SPEAKER),
        (Request::at(runs, "it", Verb::Delete), NoRight),
        (Request::at(runs, "it", Verb::Merge(json!({ "spec": { "halt": true } }))), NoRight),
        (Request::at(&lease("chaos-agent"), "chaos-controller", Verb::Delete), NoRight),
        (Request::at(&lease("kube-system"), "", Verb::List), NoRight),
    ] {
        expect(request, expected)?;
    }
    Ok(())
}
