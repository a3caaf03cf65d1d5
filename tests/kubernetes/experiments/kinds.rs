//! The rules in the definitions of the kinds: what the API server refuses, and that it takes the rest.

use anyhow::{Result, ensure};
use chaos_tests::control_plane::ControlPlane;
use serde_json::{Value, json};

use super::scene::{SHOP, one_step};

/// A step that deletes pods.
fn removing(target: &str, grace: &str, timeout: &str) -> Value {
    let pods = json!({ "target": target, "action": "Delete", "gracePeriod": grace });
    json!({ "name": "kill", "timeout": timeout, "pods": pods })
}

#[test]
fn the_api_server_refuses_objects_that_make_no_sense_and_changes_of_runs() -> Result<()> {
    let plane = ControlPlane::start()?;
    let definitions = xtask::paths::workspace().join("manifests/controller/crds.yaml");
    plane.kubectl(&["apply", "--server-side", "--filename", &definitions.display().to_string()])?;
    let kinds = ["crd/runs.chaos-agent.dev", "crd/experiments.chaos-agent.dev"];
    plane.await_kinds(&kinds)?;
    plane.kubectl(&["create", "namespace", SHOP])?;
    let object = |kind: &str, spec: Value| {
        let metadata = json!({ "name": "it", "namespace": SHOP });
        json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let apply = |object: &Value| plane.apply(&object.to_string());
    let refused = |object: &Value, expected: &str| -> Result<()> {
        match apply(object) {
            Ok(_) => anyhow::bail!("accepted: {object}"),
            Err(error) => {
                let error = error.to_string();
                ensure!(error.contains(expected), "{object}: {error}");
                Ok(())
            }
        }
    };

    apply(&object("Experiment", one_step(json!("50%"), "5m")))?;
    let with = |pointer: &str, value: Value| {
        let mut spec = one_step(json!(1), "5m");
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        spec.pointer_mut(parent).expect("it is there")[key] = value;
        object("Experiment", spec)
    };
    for (wrong, expected) in [
        (
            with("/steps/0/fault/target", json!("db")),
            "a fault's target must be one of the experiment's targets",
        ),
        (
            with("/steps/0/wait", json!({ "for": "1s" })),
            "a step must have exactly one of fault, pods, check and wait",
        ),
        (
            with("/steps/0/fault", Value::Null),
            "a step must have exactly one of fault, pods, check and wait",
        ),
        (with("/steps/0/fault/for", json!("0s")), "for must be longer than nothing"),
        (with("/steps/0/fault/for", json!("61m")), "at most 1h"),
        (with("/steps/0/fault/for", json!("5d")), "spec.steps[0].fault.for"),
        (with("/steps/0/name", json!("Slow Payments")), "spec.steps[0].name"),
        (with("/steps", json!([])), "spec.steps"),
        (with("/targets/web/pick", json!(0)), "pick must be a number from 1 on"),
        (with("/targets/web/pick", json!("0%")), "pick must be a number from 1 on"),
        (with("/targets/web/pick", json!("some")), "pick must be a number from 1 on"),
        (with("/targets/web/where", json!("x".repeat(1025))), "spec.targets.web.where"),
        (
            with("/targets/web/pods/matchExpressions", json!([{ "key": "app", "operator": "In" }])),
            "must have values",
        ),
        (with("/limits", json!({ "share": "0%" })), "spec.limits.share"),
        (with("/limits", json!({ "targets": 0 })), "spec.limits.targets"),
        (with("/limits", json!({ "disruptionBudgets": "Some" })), "spec.limits.disruptionBudgets"),
        (with("/targets/web", json!({ "pick": 1 })), "a target must have pods, or owner, or both"),
        (with("/targets/web/pick", json!("10%-")), "a range of shares such as"),
        (with("/targets/web/owner", json!({ "kind": "Rollout", "name": "web" })), "owner.kind"),
        (with("/targets/web/namespaces", json!(["x".repeat(64)])), "namespaces"),
        (with("/steps", json!([removing("db", "0s", "1m")])), "the target of pods must be one of"),
        (with("/steps", json!([removing("web", "500ms", "1m")])), "spec.steps[0].pods.gracePeriod"),
        (with("/steps", json!([removing("web", "2h", "1m")])), "gracePeriod must be at most 1h"),
        (
            with("/steps", json!([removing("web", "0s", "2h")])),
            "the timeout of a pods step must be at most 1h",
        ),
        (with("/keep", json!({ "finished": 0 })), "spec.keep.finished"),
        (with("/keep", json!({ "finished": 1001 })), "spec.keep.finished"),
    ] {
        refused(&wrong, expected)?;
    }
    let probe = |fields: Value| {
        let mut probe = json!({ "name": "home", "http": { "url": "http://web.shop" } });
        probe
            .as_object_mut()
            .expect("an object")
            .extend(fields.as_object().cloned().unwrap_or_default());
        probe
    };
    let checking = |timeout: &str| json!([{ "name": "held", "check": { "probes": ["home"], "for": "1m" }, "timeout": timeout }]);
    for (wrong, expected) in [
        (
            with("/probes", json!([probe(json!({ "tcp": { "address": "db:1" } }))])),
            "a probe must have exactly one of",
        ),
        (with("/probes", json!([probe(json!({ "every": "500ms" }))])), "every must be 1s to 10m"),
        (with("/probes", json!([probe(json!({ "during": "Ignore" }))])), "spec.probes[0].during"),
        (
            with("/probes", json!([probe(json!({})), probe(json!({}))])),
            "names of probes must differ",
        ),
        (
            with("/probes", json!([{ "name": "hit", "ledger": {} }])),
            "prometheus and ledger must have expect",
        ),
        (with("/steps", checking("2m")), "the probes of a check must be probes of the experiment"),
    ] {
        refused(&wrong, expected)?;
    }
    let mut checked = one_step(json!(1), "5m");
    checked["probes"] = json!([probe(json!({}))]);
    checked["steps"] = checking("30s");
    refused(
        &object("Experiment", checked.clone()),
        "the timeout of a check must be at least its for",
    )?;
    checked["steps"] = checking("2m");
    apply(&object("Experiment", checked))?;
    refused(
        &object("Experiment", json!({ "hypothesis": "it holds" })),
        "an experiment must have steps, or probes",
    )?;
    let library = json!({ "probes": [probe(json!({}))] });
    refused(&object("Run", json!({ "inline": library })), "a run must have steps")?;
    apply(&object("Experiment", library))?;
    apply(&with("/steps", json!([removing("web", "1m30s", "1h")])))?;
    apply(&with("/targets/web/pick", json!("10%-30%")))?;
    let mut twice = one_step(json!(1), "5m");
    let step = twice["steps"][0].clone();
    twice["steps"] = json!([step, step]);
    refused(&object("Experiment", twice.clone()), "names of steps must differ")?;

    refused(&object("Run", json!({})), "exactly one of experiment and inline")?;
    refused(
        &object("Run", json!({ "experiment": "it", "inline": one_step(json!(1), "5m") })),
        "exactly one of",
    )?;
    refused(&object("Run", json!({ "inline": twice })), "names of steps must differ")?;
    refused(&object("Run", json!({ "experiment": "it", "mode": "Wet" })), "spec.mode")?;
    let mut keeping = one_step(json!(1), "5m");
    keeping["keep"] = json!({ "finished": 1 });
    refused(&object("Run", json!({ "inline": keeping })), "keep is a field of experiments")?;
    let run = json!({ "experiment": "it", "params": { "latency": "1s" } });
    apply(&object("Run", run))?;
    for (change, expected) in [
        (
            json!({ "experiment": "other", "params": { "latency": "1s" } }),
            "the experiment of a run must not change",
        ),
        (
            json!({ "experiment": "it", "params": { "latency": "2s" } }),
            "the params of a run must not change",
        ),
        (
            json!({ "experiment": "it", "params": { "latency": "1s" }, "mode": "Shadow" }),
            "the mode of a run must not change",
        ),
    ] {
        refused(&object("Run", change), expected)?;
    }
    let halted = |halt: bool| {
        object("Run", json!({ "experiment": "it", "params": { "latency": "1s" }, "halt": halt }))
    };
    apply(&halted(true))?;
    refused(&halted(false), "a halted run must stay halted")?;

    let listed = plane.kubectl(&["get", "chaos", "--namespace", SHOP, "--output=name"])?;
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["experiment.chaos-agent.dev/it", "run.chaos-agent.dev/it"]
    );
    let columns = plane.kubectl(&["get", "cxr", "--namespace", SHOP])?;
    assert!(
        columns.starts_with(
            "NAME   EXPERIMENT   PHASE   TARGETS   INJECTED   REASON   VERDICT   HYPOTHESIS   AGE"
        ),
        "{columns}"
    );
    Ok(())
}
