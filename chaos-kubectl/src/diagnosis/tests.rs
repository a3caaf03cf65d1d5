//! What is said of pods and clusters, situation by situation.

use chaos_api::{NodeFeatures, Policy};
use chaos_kube::{ENABLED, FAULTS, FEATURES, HALT, HALTED_RUNS, STATUS, digest};
use chaos_plan::KernelFeatures;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::{
    Known,
    armed::{Of, armed},
    doctor,
    why::{Facts, State, explain},
};
use crate::{
    cluster::{Asked, Resource},
    printable::Printable,
    view,
};

const TEXT: &str = "# Run shop/web-drop-x (6d1c), step fault, by chaos-controller; spec.halt of the Run ends it\n\
    drop 20% egress tcp for 1m until 2026-11-28T10:15:00Z as web-drop-x/fault guarded";

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-11-28T10:14:30Z".parse().unwrap()
}

/// What the agent says of a text.
fn said(text: &str, phase: &str, messages: &[&str]) -> Value {
    let of_fault = match phase {
        "Armed" => "active",
        "Ended" => "ended",
        _ => "waiting",
    };
    json!({
        "phase": phase, "observed": digest(text), "messages": messages,
        "faults": [{
            "fault": text.lines().last(), "phase": of_fault,
            "since": "2026-11-28T10:14:00.000000Z", "until": "2026-11-28T10:15:00.000000Z",
            "matched": 1000, "injected": 204, "shadowed": 0, "spared": { "chance": 796 },
        }],
    })
}

fn pod(text: Option<&str>, status: Option<Value>, manager: &str) -> Pod {
    let mut annotations = json!({});
    if let Some(text) = text {
        annotations[FAULTS] = json!(text);
    }
    if let Some(status) = status {
        annotations[STATUS] = json!(status.to_string());
    }
    let owned = json!({ "f:metadata": { "f:annotations": { format!("f:{FAULTS}"): {} } } });
    object(json!({
        "metadata": { "namespace": "shop", "name": "web-0", "annotations": annotations,
            "managedFields": [{ "manager": manager, "operation": "Apply", "time": "2026-11-28T10:14:00Z", "fieldsV1": owned }] },
        "spec": { "nodeName": "node-a", "containers": [] },
        "status": { "phase": "Running" },
    }))
}

fn agent(ready: bool, features: Option<&Policy>) -> Pod {
    let mut annotations = json!({});
    if let Some(policy) = features {
        let kernel = KernelFeatures::everything("6.12.0");
        annotations[FEATURES] =
            json!(NodeFeatures::new("0.1.0", policy, kernel).to_annotation().unwrap());
    }
    let ready = if ready { "True" } else { "False" };
    object(json!({
        "metadata": { "namespace": "chaos-agent", "name": "chaos-agent-x", "annotations": annotations },
        "spec": { "nodeName": "node-a", "containers": [] },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    }))
}

fn lease(annotations: Value, renewed: &str) -> Value {
    json!({ "metadata": { "annotations": annotations },
            "spec": { "holderIdentity": "chaos-controller-7_1a", "renewTime": renewed } })
}

/// A pod of a sound cluster.
fn facts(pod: Pod) -> Facts {
    Facts {
        pod,
        namespace: Known::Is(object(json!({ "metadata": { "labels": { ENABLED: "true" } } }))),
        agents: Known::Is(vec![agent(true, Some(&Policy::default()))]),
        lease: Known::Is(Some(object(lease(json!({}), "2026-11-28T10:14:29.000000Z")))),
        run: Known::Is(None),
        now: now(),
    }
}

fn rendered(facts: &Facts) -> String {
    let explained = Printable::of(&explain(facts)).unwrap();
    let lines = view::why(&explained, 100).join("\n");
    anstream::adapter::strip_str(&lines).to_string()
}

#[test]
fn a_pod_that_a_run_breaks() {
    let armed = pod(Some(TEXT), Some(said(TEXT, "Armed", &[])), "chaos-controller");
    let mut facts = facts(armed);
    facts.run = Known::Is(Some(object(json!({
        "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run", "metadata": {}, "spec": { "experiment": "x" },
        "status": { "phase": "Running" },
    }))));
    assert_data_eq!(
        rendered(&facts),
        str![[r#"
shop/web-0 on node node-a: faults are in force
written by  chaos-controller, 30s ago
for Run     shop/web-drop-x, which is Running

drop 20% egress tcp for 1m until 2026-11-28T10:15:00Z as web-drop-x/fault guarded
  active  since 2026-11-28T10:14:00Z  until 2026-11-28T10:15:00Z  (30s left)
  matched 1,000  injected 204  spared by chance 796
"#]]
    );
}

#[test]
fn a_pod_that_nobody_breaks() {
    let facts = facts(pod(None, None, "kubelet"));
    assert_eq!(explain(&facts).state, State::Nothing);
    assert_data_eq!(rendered(&facts), str!["shop/web-0 on node node-a: nobody asks for faults"]);
}

#[test]
fn each_obstacle_is_named() {
    let unanswered = || facts(pod(Some("drop 1%"), None, "kubectl-annotate"));
    let expect = |facts: Facts, expected: &str| {
        let text = rendered(&facts);
        assert!(text.contains(expected), "{expected}:\n{text}");
    };
    let mut one = unanswered();
    one.namespace = Known::Is(object(json!({ "metadata": {} })));
    expect(one, "kubectl label namespace shop chaos-agent.dev/enabled=true");
    let mut one = unanswered();
    one.agents = Known::Is(Vec::new());
    expect(one, "no agent runs on node node-a");
    let mut one = unanswered();
    one.agents = Known::Is(vec![agent(false, None)]);
    expect(one, "chaos-agent-x, is not ready");
    let mut one = unanswered();
    one.agents = Known::Is(vec![agent(true, None)]);
    expect(one, "is too old");
    let mut one = unanswered();
    let policy = Policy::default().protecting(["shop".to_owned()].into());
    one.agents = Known::Is(vec![agent(true, Some(&policy))]);
    expect(one, "protects namespace shop");
    let mut one = unanswered();
    let policy = Policy::default().allowing("corrupt".parse().unwrap());
    one.agents = Known::Is(vec![agent(true, Some(&policy))]);
    expect(one, "does not allow `drop`");
    let mut one = unanswered();
    one.pod.spec.as_mut().unwrap().node_name = None;
    expect(one, "the pod is on no node yet");
    expect(unanswered(), "has not said anything of this annotation yet");

    let guarded = || {
        facts(pod(
            Some(TEXT),
            Some(said(TEXT, "Ended", &["the guard is gone"])),
            "chaos-controller",
        ))
    };
    let mut one = guarded();
    one.lease = Known::Is(None);
    expect(one, "there is no Lease chaos-controller");
    let mut one = guarded();
    one.lease = Known::Is(Some(object(lease(json!({}), "2026-11-28T10:09:29.000000Z"))));
    expect(one, "has not moved for 5m");
    let mut one = guarded();
    let pulled = lease(json!({ HALT: "INC-4711" }), "2026-11-28T10:14:29.000000Z");
    one.lease = Known::Is(Some(object(pulled)));
    expect(one, "the cluster is halted: INC-4711");
    let mut one = guarded();
    let halted =
        lease(json!({ HALTED_RUNS: "a/b, shop/web-drop-x" }), "2026-11-28T10:14:29.000000Z");
    one.lease = Known::Is(Some(object(halted)));
    expect(one, "the Run shop/web-drop-x is halted");
    // Somebody wrote over the text of a Run.
    let over = format!("{TEXT} shadow")
        .replace("drop 20%", "shadow drop 20%")
        .replace("guarded shadow", "guarded");
    let one = facts(pod(Some(&over), Some(said(&over, "Armed", &[])), "kubectl-edit"));
    expect(one, "kubectl-edit has written the annotation of a Run");
}

#[test]
fn armed_pods_are_those_whose_agents_say_so() {
    let names = ["web-drop-x".to_owned()];
    let of = Of::Runs { namespace: "shop", names: &names };
    let on = |status: Value| [pod(Some(TEXT), Some(status), "chaos-controller")];
    assert_eq!(armed(&on(said(TEXT, "Armed", &[])), &of), ["shop/web-0"]);
    assert_eq!(armed(&on(said(TEXT, "Armed", &[])), &Of::All), ["shop/web-0"]);
    assert_eq!(armed(&on(said(TEXT, "Ended", &[])), &Of::All), [] as [&str; 0]);
    // The text is gone, and the agent has not noticed.
    let stale = [pod(None, Some(said(TEXT, "Armed", &[])), "chaos-controller")];
    assert_eq!(armed(&stale, &of), ["shop/web-0"]);
    let shortened = json!({ "phase": "Armed", "observed": digest(TEXT) });
    assert_eq!(armed(&on(shortened), &of), ["shop/web-0"]);
    let other = ["web-drop-y".to_owned()];
    let others = Of::Runs { namespace: "shop", names: &other };
    assert_eq!(armed(&on(said(TEXT, "Armed", &[])), &others), [] as [&str; 0]);
    let elsewhere = Of::Runs { namespace: "till", names: &names };
    assert_eq!(armed(&on(said(TEXT, "Armed", &[])), &elsewhere), [] as [&str; 0]);
}

fn cluster() -> doctor::Facts {
    let right = |verb, resource, is_needed, granted| doctor::Right {
        used_for: "run, start, plan",
        asked: Asked::to(verb, resource, "", "shop"),
        is_needed,
        granted: Known::Is(granted),
    };
    doctor::Facts {
        namespace_name: "shop".to_owned(),
        agent_namespace: "chaos-agent".to_owned(),
        kinds: Known::Is(vec![
            "runs".to_owned(),
            "experiments".to_owned(),
            "runs/status".to_owned(),
        ]),
        agents: Known::Is(vec![agent(true, Some(&Policy::default()))]),
        controllers: Known::Is(vec![agent(true, None), agent(true, None)]),
        nodes: Known::Is(vec!["node-a".to_owned()]),
        lease: Known::Is(Some(object(lease(json!({}), "2026-11-28T10:14:29.000000Z")))),
        policies: Known::Is(doctor::POLICIES.map(str::to_owned).into()),
        namespace: Known::Is(object(json!({ "metadata": { "labels": { ENABLED: "true" } } }))),
        rights: vec![
            right("create", Resource::Runs, true, true),
            right("patch", Resource::Leases, false, true),
        ],
        now: now(),
    }
}

fn examined(facts: &doctor::Facts) -> String {
    let checks = Printable::of(&doctor::examine(facts)).unwrap();
    let lines = view::checks(&checks, 110).join("\n");
    anstream::adapter::strip_str(&lines).to_string()
}

#[test]
fn a_sound_cluster() {
    let facts = cluster();
    assert!(!doctor::is_bad(&doctor::examine(&facts)));
    assert_data_eq!(
        examined(&facts),
        str![[r#"
✓  kinds           Experiment and Run are installed
✓  controller      2 of 2 replicas ready
✓  guard           held by chaos-controller-7_1a, renewed 1s ago
✓  lever           the cluster is not halted
✓  agents          1 of 1 agent ready
✓  node node-a     version 0.1.0, kernel 6.12.0 (x86_64), 20 of 20 mechanisms, at most 256 pods at once
✓  policies        all are there
✓  namespace shop  allows faults: all verbs that are not destructive
✓  your rights     run, start, plan: you may create runs.chaos-agent.dev in namespace shop
✓                  run, start, plan: you may patch leases.coordination.k8s.io in namespace shop
"#]]
    );
}

#[test]
fn a_cluster_in_which_everything_is_wrong() {
    let mut facts = cluster();
    facts.kinds = Known::Is(Vec::new());
    facts.agents = Known::Is(vec![agent(false, None)]);
    facts.controllers = Known::Is(Vec::new());
    facts.nodes = Known::Is(vec!["node-a".to_owned(), "node-b".to_owned()]);
    let halted = lease(json!({ HALT: "INC-4711" }), "2026-11-28T10:09:29.000000Z");
    facts.lease = Known::Is(Some(object(halted)));
    facts.policies = Known::No("you may not get validatingadmissionpolicies".to_owned());
    facts.namespace = Known::Is(object(json!({ "metadata": {} })));
    for right in &mut facts.rights {
        right.granted = Known::Is(false);
    }
    assert!(doctor::is_bad(&doctor::examine(&facts)));
    assert_data_eq!(
        examined(&facts),
        str![[r#"
✗  kinds           experiments and runs are not installed
                   → `kubectl apply -k manifests/controller` installs them
✗  controller      none in namespace chaos-agent
                   → `kubectl apply -k manifests/controller`; `--agent-namespace` if it is elsewhere
✗  guard           held by chaos-controller-7_1a, renewed 5m ago
                   → no controller leads, or this machine's clock is wrong: Runs stand still, and guarded
                   faults have ended
✗  lever           the cluster is halted: INC-4711
                   → `kubectl chaos resume --cluster` lets Runs begin again
!  agents          0 of 1 agent ready
✗  node node-a     chaos-agent-x is not ready
                   → `kubectl describe pod chaos-agent-x -n chaos-agent`
!  node node-b     no agent; Runs refuse its pods
                   → taints or a node selector keep the DaemonSet away, or it is no Linux
?  policies        you may not get validatingadmissionpolicies
✗  namespace shop  has no label chaos-agent.dev/enabled=true
                   → `kubectl label namespace shop chaos-agent.dev/enabled=true` allows its pods to be broken
✗  your rights     run, start, plan: you may not create runs.chaos-agent.dev in namespace shop
                   → the ClusterRole chaos-runner has it
!                  run, start, plan: you may not patch leases.coordination.k8s.io in namespace shop
                   → the Role chaos-lever in the namespace of the agents has it
"#]]
    );
}

#[test]
fn the_policies_are_those_of_the_manifests() {
    let manifests = ["base", "controller"].map(|directory| {
        let path = format!("{}/../manifests/{directory}/policies.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    });
    let documents = manifests.iter().flat_map(|text| text.split("\n---\n"));
    let policies = documents.filter(|text| text.contains("kind: ValidatingAdmissionPolicy\n"));
    let name = |text: &str| {
        text.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap().to_owned()
    };
    let there: std::collections::BTreeSet<String> = policies.map(name).collect();
    assert_eq!(there, doctor::POLICIES.map(str::to_owned).into());
}

#[test]
fn annotations_of_strangers_change_no_terminal() {
    const HOSTILE: &str = "\u{1b}[2J\u{9b}1A\u{202e}";
    let text = format!("drop 1% # {HOSTILE}");
    let mut facts = facts(pod(Some(&text), Some(said(&text, "Refused", &[HOSTILE])), HOSTILE));
    let halted = lease(json!({ HALT: HOSTILE }), "2026-11-28T10:14:29.000000Z");
    facts.lease = Known::Is(Some(object(halted)));
    let text = rendered(&facts);
    assert!(text.contains("the cluster is halted: \u{fffd}[2J"), "{text}");
    let is_obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(is_obeyed), "{text:?}");
}
