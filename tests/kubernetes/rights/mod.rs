//! What whoever has the token of a node's agent can do in the cluster: answer on the pods of that
//! node, and nothing else.

pub mod request;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chaos_kube::{FAULTS, FEATURES, GUARD, PodPhase, STATUS, Status, digest};
use chaos_tests::{
    control_plane::{ControlPlane, Identity},
    kubelet::{Pod, PodSpec},
};
use kube::Client;
use request::{
    Answer,
    Answer::{Done, Invalid, NoRight, Policy},
    Request, Verb,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    agent::client,
    cluster::{Cluster, GRACE, SHOP},
};

const NODE: &str = "node-a";
const OTHER_NODE: &str = "node-b";

/// A policy is in force about a second after it was applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// What policies refuse with.
const OF_OTHER_NODE: Answer = Policy("may answer on pods of the node that its token is bound to");
const ANNOTATION: Answer = Policy("may change chaos-agent.dev/status only");
const METADATA: Answer = Policy("of a pod's metadata the agent may change its annotation only");
const POD_STATUS: Answer = Policy("may not change the status of a pod");
const SPEAKER: Answer = Policy("in its own name and that of its node only");
const SUBJECT: Answer = Policy("events of pods only, in their namespace");

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/chaos-agent/leases";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

/// Two nodes with the manifests applied, pods, and clients.
struct Scene {
    plane: ControlPlane,
    runtime: Runtime,
    admin: Client,
    /// The agent of [`NODE`].
    agent: Client,
}

impl Scene {
    fn set() -> Result<Self> {
        let plane = ControlPlane::start()?;
        let base = xtask::paths::workspace().join("manifests/base").display().to_string();
        plane.kubectl(&["apply", "--kustomize", &base])?;
        plane.kubectl(&["create", "namespace", SHOP])?;
        for node in [NODE, OTHER_NODE] {
            let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } });
            plane.apply(&node.to_string())?;
        }
        for (namespace, name, node) in [
            (SHOP, "web", Some(NODE)),
            (SHOP, "far", Some(OTHER_NODE)),
            (SHOP, "unbound", None),
            ("kube-system", "dns", Some(NODE)),
        ] {
            plane.apply(&pod(namespace, name, node).to_string())?;
            let status = json!({ "status": {
                "phase": "Running",
                "podIP": "10.0.0.7",
                "podIPs": [{ "ip": "10.0.0.7" }],
                "conditions": [{ "type": "Ready", "status": "True" }],
            }});
            plane.kubectl(&[
                "patch",
                "pod",
                name,
                "--namespace",
                namespace,
                "--subresource=status",
                "--patch",
                &status.to_string(),
            ])?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connect = |kubeconfig: &Path| runtime.block_on(client(kubeconfig));
        let admin = connect(plane.kubeconfig(Identity::Admin))?;
        let agent = connect(&plane.agent_on(NODE)?)?;
        let scene = Self { plane, runtime, admin, agent };
        scene.await_policies()?;
        Ok(scene)
    }

    fn connect(&self, name: &str, token: &str) -> Result<Client> {
        self.runtime.block_on(client(&self.plane.kubeconfig_of(name, token)?))
    }

    fn await_policies(&self) -> Result<()> {
        let label = of_status(SHOP, "web", json!({ "metadata": { "labels": { "app": "x" } } }));
        let event = Request::at(EVENTS, "", Verb::Create(event("probe", "kubelet", NODE)));
        for (probe, refused) in [(label, METADATA), (event, SPEAKER)] {
            let give_up = Instant::now() + PATIENCE;
            while let Err(error) = self.expect(&self.agent, &probe.clone().dry_run(), refused) {
                if Instant::now() > give_up {
                    return Err(error.context(format!("not in force after {PATIENCE:?}")));
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    fn expect(&self, client: &Client, request: &Request, expected: Answer) -> Result<()> {
        self.runtime.block_on(request.expect(client, expected))
    }

    /// Sends all of them as the agent of [`NODE`] and says which went otherwise.
    fn expect_all(&self, requests: &[(Request, Answer)]) -> Result<()> {
        let failed: Vec<String> = requests
            .iter()
            .filter_map(|(request, expected)| self.expect(&self.agent, request, *expected).err())
            .map(|error| format!("{error:#}"))
            .collect();
        if !failed.is_empty() {
            bail!("{} of {}:\n{}", failed.len(), requests.len(), failed.join("\n"));
        }
        Ok(())
    }

    /// All pods as they are, without the agent's answer and the server's own accounts.
    fn pods(&self) -> Result<Value> {
        let text = self.plane.kubectl(&["get", "pods", "--all-namespaces", "--output=json"])?;
        let mut pods: Value = serde_json::from_str(&text).context("pods")?;
        let items = pods["items"].take();
        let Value::Array(mut items) = items else { bail!("no list of pods: {text}") };
        for pod in &mut items {
            let metadata = pod["metadata"].as_object_mut().context("metadata")?;
            metadata.remove("resourceVersion");
            if let Some(annotations) = metadata.get_mut("annotations") {
                annotations.as_object_mut().context("annotations")?.remove(STATUS);
            }
        }
        Ok(items.into())
    }
}

fn pod(namespace: &str, name: &str, node: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": { "app": name },
            "annotations": { FAULTS: "drop 1%", "team": "blue" },
            "finalizers": ["example.com/hold"],
        },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] },
    })
}

/// A merge patch of a pod's status.
fn of_status(namespace: &str, name: &str, change: Value) -> Request {
    Request::to("pods", namespace, name, Verb::MergeOf("status", change))
}

/// The same by server-side apply, which is how the agent does it.
fn applied(namespace: &str, name: &str, mut change: Value) -> Request {
    change["apiVersion"] = json!("v1");
    change["kind"] = json!("Pod");
    Request::to("pods", namespace, name, Verb::ApplyOf("status", change))
}

fn annotated(annotations: Value) -> Value {
    json!({ "metadata": { "annotations": annotations } })
}

fn answer() -> Value {
    annotated(json!({ STATUS: "{}" }))
}

/// An event about a pod of the shop.
fn event(name: &str, controller: &str, instance: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": SHOP },
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": controller,
        "reportingInstance": instance,
        "action": "Arm",
        "reason": "FaultsArmed",
        "type": "Normal",
        "note": "a note",
        "regarding": { "apiVersion": "v1", "kind": "Pod", "namespace": SHOP, "name": "web" },
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    *object.pointer_mut(pointer).expect("the object has it") = value;
    object
}

#[test]
fn answers_go_on_pods_of_the_own_node_only() -> Result<()> {
    let scene = Scene::set()?;
    for write in [applied, of_status] {
        scene.expect_all(&[
            (write(SHOP, "web", answer()), Done),
            // It is told there that it can't be broken.
            (write("kube-system", "dns", answer()), Done),
            (write(SHOP, "far", answer()), OF_OTHER_NODE),
            (write(SHOP, "unbound", answer()), OF_OTHER_NODE),
        ])?;
    }
    scene.expect_all(&[(of_status(SHOP, "web", annotated(json!({ STATUS: null }))), Done)])?;

    // The token decides, not who asks.
    let far = scene.plane.token_on(OTHER_NODE, "chaos-agent", "chaos-agent")?;
    let far = scene.connect("far", &far)?;
    scene.expect(&far, &applied(SHOP, "far", answer()), Done)?;
    scene.expect(&far, &applied(SHOP, "web", answer()), OF_OTHER_NODE)?;
    let nowhere = scene.plane.unbound_token("chaos-agent", "chaos-agent")?;
    let nowhere = scene.connect("nowhere", &nowhere)?;
    for pod in ["web", "far", "unbound"] {
        scene.expect(&nowhere, &applied(SHOP, pod, answer()), OF_OTHER_NODE)?;
    }
    Ok(())
}

#[test]
fn features_go_on_the_own_pod_only() -> Result<()> {
    let scene = Scene::set()?;
    let own = &format!("chaos-agent-{NODE}");
    // Of the same node, in the same namespace.
    scene.plane.apply(&pod("chaos-agent", "beside", Some(NODE)).to_string())?;
    scene.plane.token_on(OTHER_NODE, "chaos-agent", "chaos-agent")?;
    let other = &format!("chaos-agent-{OTHER_NODE}");
    let features = || annotated(json!({ FEATURES: "{}" }));
    let here = "chaos-agent";
    for write in [applied, of_status] {
        scene.expect_all(&[
            (write(here, own, features()), Done),
            (write(here, own, annotated(json!({ FEATURES: "{}", STATUS: "{}" }))), Done),
            (write(here, "beside", features()), ANNOTATION),
            (write(SHOP, "web", features()), ANNOTATION),
            (write(here, other, features()), OF_OTHER_NODE),
            (write(here, own, annotated(json!({ FAULTS: "drop" }))), ANNOTATION),
            (write(here, own, annotated(json!({ FEATURES: "{}", "team": "red" }))), ANNOTATION),
            (write(here, own, json!({ "metadata": { "labels": { "app": "other" } } })), METADATA),
            (write(here, own, json!({ "status": { "phase": "Failed" } })), POD_STATUS),
        ])?;
    }
    // A token that is bound to no pod has none of its own.
    let nowhere = scene.plane.unbound_token("chaos-agent", "chaos-agent")?;
    let nowhere = scene.connect("nowhere", &nowhere)?;
    scene.expect(&nowhere, &applied(here, own, features()), OF_OTHER_NODE)
}

#[test]
fn of_a_pod_nothing_but_the_answer_changes() -> Result<()> {
    let scene = Scene::set()?;
    // So that its own mark is among those of the others.
    scene.expect_all(&[(applied(SHOP, "web", answer()), Done)])?;
    let before = scene.pods()?;
    let metadata = |field: &str, value: Value| json!({ "metadata": { field: value } });
    let status = |field: &str, value: Value| json!({ "status": { field: value } });
    let container = json!([{ "name": "main", "image": "other", "imageID": "", "ready": true,
        "restartCount": 0, "containerID": "containerd://0" }]);
    let changes = [
        (annotated(json!({ FAULTS: "drop 100%" })), ANNOTATION),
        (annotated(json!({ FEATURES: "{}" })), ANNOTATION),
        (annotated(json!({ "cni.projectcalico.org/podIP": "10.0.0.9/32" })), ANNOTATION),
        (annotated(json!({ "kubernetes.io/config.mirror": "x" })), Invalid),
        (annotated(json!({ STATUS: "{}", "team": "red" })), ANNOTATION),
        (metadata("labels", json!({ "app": "other" })), METADATA),
        (metadata("labels", json!({ "more": "other" })), METADATA),
        (metadata("finalizers", json!(["example.com/other"])), METADATA),
        (status("phase", json!("Failed")), POD_STATUS),
        (status("reason", json!("Evicted")), POD_STATUS),
        (status("conditions", json!([{ "type": "Ready", "status": "False" }])), POD_STATUS),
        (status("conditions", json!([{ "type": "Other", "status": "True" }])), POD_STATUS),
        (status("containerStatuses", container), POD_STATUS),
        (status("podIP", json!("10.0.0.9")), POD_STATUS),
        // By itself it is made to agree with `podIP`.
        (
            json!({ "status": { "podIP": "10.0.0.9", "podIPs": [{ "ip": "10.0.0.9" }] } }),
            POD_STATUS,
        ),
        (status("hostIP", json!("10.0.0.9")), POD_STATUS),
        (status("nominatedNodeName", json!(NODE)), Invalid),
    ];
    let mut requests = Vec::new();
    for (change, refused) in &changes {
        for write in [of_status, applied] {
            // Also beside an answer that would be allowed.
            let mut beside = change.clone();
            if beside["metadata"].get("annotations").is_none() {
                beside["metadata"]["annotations"] = json!({ STATUS: "{\"phase\":\"Armed\"}" });
            }
            requests.extend([change.clone(), beside].map(|c| (write(SHOP, "web", c), *refused)));
        }
    }
    // What only a merge can take away.
    requests.extend([
        (of_status(SHOP, "web", annotated(json!({ "team": null }))), ANNOTATION),
        (of_status(SHOP, "web", annotated(json!({ FAULTS: null }))), ANNOTATION),
        (of_status(SHOP, "web", annotated(Value::Null)), ANNOTATION),
        (of_status(SHOP, "web", metadata("labels", json!({ "app": null }))), METADATA),
        (of_status(SHOP, "web", metadata("labels", Value::Null)), METADATA),
        (of_status(SHOP, "web", metadata("finalizers", Value::Null)), METADATA),
        (of_status(SHOP, "web", metadata("managedFields", json!([{}]))), Done),
        (of_status(SHOP, "web", status("conditions", Value::Null)), POD_STATUS),
        (of_status(SHOP, "web", json!({ "status": null })), POD_STATUS),
    ]);
    // What a request to the status does not change, whoever sends it.
    let owner = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x" }]);
    let image = json!({ "spec": { "containers": [{ "name": "main", "image": "other" }] } });
    for write in [of_status, applied] {
        requests.extend([
            (write(SHOP, "web", metadata("ownerReferences", owner.clone())), Done),
            (write(SHOP, "web", image.clone()), Done),
        ]);
    }
    scene.expect_all(&requests)?;
    let after = scene.pods()?;
    assert_eq!(without_times(before), without_times(after));
    Ok(())
}

/// When the agent's own fields were last applied changes with each answer.
fn without_times(mut pods: Value) -> Value {
    for pod in pods.as_array_mut().into_iter().flatten() {
        for entry in pod["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            if entry["manager"] == "chaos-agent" {
                *entry = Value::Null;
            }
        }
        let entries = pod["metadata"]["managedFields"].as_array_mut();
        if let Some(entries) = entries {
            entries.retain(|entry| !entry.is_null());
        }
    }
    pods
}

#[test]
fn rbac_grants_nothing_more_than_the_answers() -> Result<()> {
    let scene = Scene::set()?;
    let before = scene.pods()?;
    let label = json!({ "metadata": { "labels": { "app": "x" } } });
    let image = json!({ "spec": { "containers": [{ "name": "main", "image": "other" }] } });
    let debugger = json!({ "spec": { "ephemeralContainers": [{ "name": "x", "image": "x" }] } });
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "unbound" },
        "target": { "apiVersion": "v1", "kind": "Node", "name": NODE } });
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "name": "web", "namespace": SHOP } });
    let token = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": [] } });
    let whole = pod(SHOP, "web", Some(NODE));
    let merge = || Verb::Merge(label.clone());
    let pods = |name: &str, verb: Verb| Request::to("pods", SHOP, name, verb);
    let mut requests = vec![
        pods("web", Verb::Merge(image.clone())),
        pods("web", Verb::Merge(answer())),
        pods("web", Verb::Apply(with_kind(answer()))),
        pods("web", Verb::Get),
        pods("web", Verb::Delete),
        pods("", Verb::DeleteAll),
        pods("new", Verb::Create(pod(SHOP, "new", Some(NODE)))),
        pods("web", Verb::ReplaceOf("status", whole)),
        pods("web", Verb::MergeOf("ephemeralcontainers", debugger)),
        pods("web", Verb::MergeOf("resize", image)),
        pods("unbound", Verb::CreateOf("binding", binding)),
        pods("web", Verb::CreateOf("eviction", eviction)),
        pods("web", Verb::CreateOf("exec", json!({}))),
        Request::to("secrets", "chaos-agent", "", Verb::List),
        Request::to("secrets", SHOP, "x", Verb::Get),
        Request::to("configmaps", "kube-system", "", Verb::List),
        Request::to(
            "serviceaccounts",
            "chaos-agent",
            "chaos-agent",
            Verb::CreateOf("token", token),
        ),
        // It reads and deletes no events, and has no right to those of the old kind.
        Request::to("events", SHOP, "x", Verb::Create(event("x", "chaos-agent", NODE))),
        Request::to("events", SHOP, "", Verb::List),
        Request::at(EVENTS, "", Verb::List),
        Request::at(EVENTS, "x", Verb::Delete),
        // Of Leases it watches the guard alone.
        Request::at(LEASES, "", Verb::List),
        Request::at(LEASES, "", Verb::Create(json!({ "metadata": { "name": "other" } }))),
        Request::at("/apis/coordination.k8s.io/v1/leases", "", Verb::List),
        Request::at("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "", Verb::List),
    ];
    for (kind, name) in [
        ("/api/v1/namespaces", SHOP),
        ("/api/v1/nodes", NODE),
        ("/apis/apps/v1/namespaces/chaos-agent/daemonsets", "chaos-agent"),
        (LEASES, GUARD),
        (LEASES, "other"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "chaos-agent"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "chaos-agent"),
        ("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "chaos-agent-pods"),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            "chaos-agent-pods",
        ),
    ] {
        requests
            .extend([merge(), Verb::Delete, Verb::Get].map(|verb| Request::at(kind, name, verb)));
    }
    requests.extend(
        ["namespaces", "nodes"]
            .map(|kind| (format!("/api/v1/{kind}"), Verb::MergeOf("status", label.clone())))
            .map(|(kind, verb)| Request::at(&kind, NODE, verb)),
    );
    let requests: Vec<_> = requests.into_iter().map(|request| (request, NoRight)).collect();
    scene.expect_all(&requests)?;
    // What it needs.
    scene.expect_all(&[
        (Request::at("/api/v1/pods", "", Verb::List), Done),
        (Request::at("/api/v1/namespaces", "", Verb::List), Done),
        (Request::at(EVENTS, "", Verb::Create(event("armed", "chaos-agent", NODE))), Done),
    ])?;
    assert_eq!(before, scene.pods()?);
    Ok(())
}

fn with_kind(mut change: Value) -> Value {
    change["apiVersion"] = json!("v1");
    change["kind"] = json!("Pod");
    change
}

#[test]
fn events_are_of_the_agent_and_its_node_about_pods() -> Result<()> {
    let scene = Scene::set()?;
    let create = |event: Value| Request::at(EVENTS, "", Verb::Create(event));
    let own = event("own", "chaos-agent", NODE);
    let again =
        json!({ "series": { "count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z" } });
    let repeat = |name: &str| Request::at(EVENTS, name, Verb::Merge(again.clone()));
    let foreign = Request::at(EVENTS, "", Verb::Create(event("foreign", "kubelet", NODE)));
    scene.expect(&scene.admin, &foreign, Done)?;
    let far = Request::at(EVENTS, "", Verb::Create(event("far", "chaos-agent", OTHER_NODE)));
    scene.expect(&scene.admin, &far, Done)?;
    let elsewhere = with(own.clone(), "/regarding/namespace", json!("kube-system"));
    let node = with(own.clone(), "/regarding/kind", json!("Node"));
    let system = with(own.clone(), "/metadata/namespace", json!("kube-system"));
    let in_system = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
    scene.expect_all(&[
        (create(own.clone()), Done),
        (repeat("own"), Done),
        (create(event("a", "kubelet", NODE)), SPEAKER),
        (create(event("b", "chaos-agent", OTHER_NODE)), SPEAKER),
        (create(elsewhere), SUBJECT),
        (create(node), SUBJECT),
        (Request::at(in_system, "", Verb::Create(system)), SUBJECT),
        (repeat("foreign"), SPEAKER),
        (repeat("far"), SPEAKER),
        // Taking over another's.
        (
            Request::at(
                EVENTS,
                "foreign",
                Verb::Merge(json!({ "reportingController": "chaos-agent" })),
            ),
            Invalid,
        ),
        (
            Request::at(EVENTS, "own", Verb::Merge(json!({ "regarding": { "name": "far" } }))),
            Invalid,
        ),
    ])
}

#[test]
fn nobody_else_is_under_the_policies() -> Result<()> {
    let scene = Scene::set()?;
    let plane = &scene.plane;
    // The same name in another namespace, with the same rights.
    plane.kubectl(&["create", "serviceaccount", "chaos-agent", "--namespace", SHOP])?;
    let account = "--serviceaccount=shop:chaos-agent";
    plane.kubectl(&["create", "clusterrolebinding", "x", "--clusterrole=chaos-agent", account])?;
    let namesake = plane.token_on(OTHER_NODE, SHOP, "chaos-agent")?;
    let namesake = scene.connect("namesake", &namesake)?;
    let change = |value: &str| {
        json!({
            "metadata": { "labels": { "app": value }, "annotations": { "team": value } },
            "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": value }] },
        })
    };
    for (name, client) in [("admin", &scene.admin), ("namesake", &namesake)] {
        for pod in ["web", "far", "unbound"] {
            let change = Verb::MergeOf("status", change(&format!("{name}-{pod}")));
            scene.expect(client, &Request::to("pods", SHOP, pod, change), Done)?;
        }
        let event = Verb::Create(event(name, "kubelet", "anything"));
        scene.expect(client, &Request::at(EVENTS, "", event), Done)?;
    }
    // Without rights nothing is left of the policies, either.
    plane.kubectl(&["delete", "clusterrolebinding", "chaos-agent"])?;
    let change = Verb::MergeOf("status", change("after"));
    scene.expect(&scene.admin, &Request::to("pods", SHOP, "web", change), Done)
}

#[test]
fn the_agent_answers_whoever_wrote_on_the_pod_before() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let plane = &cluster.plane;
    let kubectl = |words: &str| plane.kubectl(&words.split(' ').collect::<Vec<_>>());
    let fresh = kubelet.run(&PodSpec::new(SHOP, "fresh"))?;
    // As agents wrote it that had the right to change pods.
    let earlier = kubelet.run(&PodSpec::new(SHOP, "earlier"))?;
    let object = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "earlier", "namespace": SHOP, "annotations": { STATUS: "earlier" } } });
    let apply = ["apply", "--server-side", "--field-manager=chaos-agent", "--filename=-"];
    plane.kubectl_as(Identity::Admin, &apply, &object.to_string())?;
    // As somebody wrote it who tries.
    let forged = kubelet.run(&PodSpec::new(SHOP, "forged"))?;
    kubectl(&format!("annotate pod forged --namespace {SHOP} {STATUS}=forged"))?;
    let applied = kubelet.run(&PodSpec::new(SHOP, "applied").annotation(STATUS, "applied"))?;
    // It goes, and may still be broken until it has.
    let going = kubelet.run(&PodSpec::new(SHOP, "going").annotation("team", "blue"))?;
    kubectl(&format!("delete pod going --namespace {SHOP} --wait=false --grace-period=600"))?;

    let agent = cluster.agent(GRACE)?;
    for pod in [&fresh, &earlier, &forged, &applied, &going] {
        for text in ["drop 1% egress udp", "drip"] {
            cluster.annotate(pod, Some(text))?;
            let status = await_answer(&cluster, pod, text)?;
            let expected = if text == "drip" { PodPhase::Refused } else { PodPhase::Armed };
            assert_eq!(status.phase, expected, "{}: {status:?}", pod.name);
        }
    }
    agent.stop()?;
    let events = kubectl(&format!("get events --namespace {SHOP} --output=jsonpath={{..reason}}"))?;
    assert!(events.contains("FaultsArmed") && events.contains("FaultsRefused"), "{events}");
    Ok(())
}

/// Waits for the agent's answer to a text; what is no answer at all may stand there before.
fn await_answer(cluster: &Cluster, pod: &Pod, text: &str) -> Result<Status> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let status = cluster.status(pod);
        match status {
            Ok(Some(status)) if status.observed == Some(digest(text)) => return Ok(status),
            other if Instant::now() > give_up => bail!("{}: {text}: {other:?}", pod.name),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}
