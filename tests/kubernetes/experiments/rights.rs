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
const REMOVAL: Answer = Policy("may remove pods in namespaces with the label");
const DELETION: Answer = Policy("does not allow `delete pods`");
const EVICTION: Answer = Policy("does not allow `evict pods`");
const LIVE: Answer = Policy("may delete runs that have finished only");
const REPORT: Answer = Policy("of ConfigMaps the controller may write reports of runs only");
const REPORTS_IN: Answer = Policy("may write reports in namespaces with the label");
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
    let evict = |namespace: &str, name: &str| {
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": name, "namespace": namespace } });
        Request::to("pods", namespace, name, Verb::CreateOf("eviction", eviction))
    };
    let report = |name: &str, namespace: &str, kind: &str| {
        let owner = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": kind,
            "name": name.trim_end_matches("-report"), "uid": "it" });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "binaryData": { "report.jsonl.gz": "" },
            "metadata": { "name": name, "namespace": namespace, "ownerReferences": [owner],
                          "labels": { "chaos-agent.dev/report": "true" } } })
    };
    plane.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--namespace",
        SHOP,
        "--from-literal=a=b",
    ])?;
    scene.run("it", json!({ "experiment": "any" }))?;
    // Both words on a namespace that no label enables.
    let everything = "chaos-agent.dev/allow-verbs=default, Delete  Pods ,evict pods";
    plane.kubectl(&["annotate", "namespace", "quiet", everything])?;
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
        (Request::to("pods", SHOP, "web-0", Verb::Delete), DELETION),
        (evict(SHOP, "web-0"), EVICTION),
        (Request::to("pods", "quiet", "till", Verb::Delete), REMOVAL),
        (evict("quiet", "till"), REMOVAL),
        (Request::to("pods", "chaos-agent", "agent-node-a", Verb::Delete), REMOVAL),
        (Request::to("pods", SHOP, "", Verb::DeleteAll), NoRight),
        (Request::at("/apis/apps/v1/namespaces/shop/replicasets", "", Verb::List), Done),
        (Request::at("/apis/apps/v1/namespaces/shop/deployments", "", Verb::List), NoRight),
        (Request::to("pods", SHOP, "", Verb::List), Done),
        (Request::to("secrets", SHOP, "", Verb::List), NoRight),
        (Request::to("configmaps", SHOP, "", Verb::List), NoRight),
        (Request::to("configmaps", SHOP, "settings", Verb::Get), NoRight),
        (Request::to("configmaps", SHOP, "settings", Verb::Delete), NoRight),
        // Neither changed nor, by the answer to a patch, read.
        (Request::to("configmaps", SHOP, "settings", Verb::Merge(json!({}))), REPORT),
        (
            Request::to(
                "configmaps",
                SHOP,
                "settings",
                Verb::Merge(report("settings", SHOP, "Run")),
            ),
            REPORT,
        ),
        (Request::to("configmaps", SHOP, "", Verb::Create(report("it-report", SHOP, "Run"))), Done),
        (Request::to("configmaps", SHOP, "it-report", Verb::Merge(json!({}))), Done),
        (
            Request::to(
                "configmaps",
                SHOP,
                "it-report",
                Verb::Merge(json!({ "data": { "a": "b" } })),
            ),
            REPORT,
        ),
        (Request::to("configmaps", SHOP, "", Verb::Create(report("other", SHOP, "Run"))), REPORT),
        (
            Request::to("configmaps", SHOP, "", Verb::Create(report("a-report", SHOP, "Pod"))),
            REPORT,
        ),
        (
            Request::to(
                "configmaps",
                "quiet",
                "",
                Verb::Create(report("it-report", "quiet", "Run")),
            ),
            REPORTS_IN,
        ),
        (events(event("Run", "chaos-controller")), Done),
        (events(event("Pod", "chaos-controller")), SPEAKER),
        (events(event("Run", "kubelet")), SPEAKER),
        (Request::at(runs, "it", Verb::Delete), LIVE),
        (Request::at(runs, "it", Verb::Merge(json!({ "spec": { "halt": true } }))), NoRight),
        (Request::at(&lease("chaos-agent"), "chaos-controller", Verb::Delete), NoRight),
        (Request::at(&lease("kube-system"), "", Verb::List), NoRight),
    ] {
        expect(request, expected)?;
    }
    let delete = Request::to("pods", SHOP, "web-0", Verb::Delete);
    plane.kubectl(&["annotate", "namespace", SHOP, "chaos-agent.dev/allow-verbs=evict pods"])?;
    scene.await_that("the annotation to be known", || {
        Ok(expect(evict(SHOP, "web-1").dry_run(), Done))
    })?;
    expect(delete.clone(), DELETION)?;
    plane.kubectl(&["annotate", "namespace", SHOP, "--overwrite", everything])?;
    scene.await_that("the annotation to be known", || Ok(expect(delete.clone(), Done)))?;
    let finished = json!({ "status": { "phase": "Finished" } }).to_string();
    let patch = ["patch", "run", "it", "--namespace", SHOP, "--subresource=status", "--type=merge"];
    plane.kubectl(&[&patch[..], &["--patch", &finished]].concat())?;
    expect(Request::at(runs, "it", Verb::Delete), Done)?;
    Ok(())
}
