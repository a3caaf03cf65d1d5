//! Targets by workload and in other namespaces, and what a namespace allows at most.

use anyhow::{Result, bail};
use chaos_api::kinds::{Reason, Run};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::scene::{SHOP, Scene, one_step};

/// A pod that a ReplicaSet of a Deployment has made.
fn owned_pod(scene: &Scene) -> Result<()> {
    let owner = |version: &str, kind: &str, name: &str, uid: &str| json!([{ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true }]);
    let labels = json!({ "app": "owned" });
    let containers = json!([{ "name": "main", "image": "none" }]);
    let replica_set = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "web-6f", "namespace": SHOP, "labels": labels,
                      "ownerReferences": owner("apps/v1", "Deployment", "web", "a-uid") },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels },
                  "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } } } });
    scene.plane.apply(&replica_set.to_string())?;
    let uid = ["get", "replicaset", "web-6f", "--namespace", SHOP];
    let uid = scene.plane.kubectl(&[&uid[..], &["--output=jsonpath={.metadata.uid}"]].concat())?;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "owned", "namespace": SHOP, "labels": labels,
                      "ownerReferences": owner("apps/v1", "ReplicaSet", "web-6f", &uid) },
        "spec": { "nodeName": "node-a", "containers": containers } });
    scene.plane.apply(&pod.to_string())?;
    super::scene::serve(&scene.plane, SHOP, "owned")
}

fn of_owner() -> Value {
    let mut spec = one_step(json!("all"), "5m");
    spec["targets"]["web"] =
        json!({ "owner": { "kind": "Deployment", "name": "web" }, "pick": "all" });
    spec
}

#[test]
fn targets_are_found_by_workload_and_in_namespaces() -> Result<()> {
    let scene = Scene::set()?;
    owned_pod(&scene)?;
    let _controller = scene.controller("a")?;
    scene.run("owned", json!({ "inline": of_owner() }))?;
    scene.await_run("owned", |status| status.targets.armed == 1)?;
    assert_eq!(scene.texts()?.into_keys().collect::<Vec<_>>(), ["owned"]);
    scene.halt("owned")?;
    scene.await_end("owned")?;

    let mut far = of_owner();
    far["targets"]["web"]["namespaces"] = json!([SHOP]);
    let run = |namespace: &str, name: &str| -> Result<()> {
        let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
            "metadata": { "name": name }, "spec": { "inline": far } });
        let runs: Api<Run> = Api::namespaced(scene.admin.clone(), namespace);
        let run: Run = serde_json::from_value(run)?;
        scene.runtime.block_on(runs.create(&PostParams::default(), &run))?;
        Ok(())
    };
    // The policy is in force by now, which was applied long before.
    match run(SHOP, "near") {
        Ok(()) => bail!("a run of {SHOP} may name namespaces"),
        Err(error) => {
            let error = format!("{error:#}");
            assert!(
                error.contains("targets may have namespaces in namespace chaos-agent"),
                "{error}"
            );
        }
    }
    let experiment = scene.experiment("near", far.clone()).expect_err("a policy").to_string();
    assert!(experiment.contains("in namespace chaos-agent only"), "{experiment}");
    // Where the policy is not installed, the controller refuses.
    let binding = ["delete", "validatingadmissionpolicybinding", "chaos-experiments-namespaces"];
    scene.plane.kubectl(&binding)?;
    scene.await_that("no policy", || Ok(run(SHOP, "near")))?;
    let refused = scene.await_end("near")?;
    let expected = "target web: namespaces are honoured in namespace chaos-agent only";
    assert!(refused.message.starts_with(expected), "{refused:?}");
    assert_eq!(scene.texts()?.len(), 0);

    run("chaos-agent", "far")?;
    let texts = scene.await_texts(1)?;
    assert!(texts["owned"].ends_with(" as chaos-agent/far/slow guarded"), "{texts:?}");
    let halt = json!({ "spec": { "halt": true } }).to_string();
    let patch = ["patch", "run", "far", "--namespace=chaos-agent", "--type=merge", "--patch"];
    scene.plane.kubectl(&[&patch[..], &[&halt]].concat())?;
    scene.await_texts(0)?;

    // What the namespace allows at most.
    let annotate =
        |change: &str| scene.plane.kubectl(&["annotate", "namespace", SHOP, "--overwrite", change]);
    annotate("chaos-agent.dev/max-share=25%")?;
    scene.run("one", json!({ "inline": one_step(json!(1), "5m") }))?;
    scene.await_run("one", |status| status.targets.armed == 1)?;
    scene.run("beyond", json!({ "inline": one_step(json!(1), "5m") }))?;
    let beyond = scene.await_end("beyond")?;
    assert!(beyond.message.contains("max-share: 25% of 4 pods are 1"), "{beyond:?}");
    annotate("chaos-agent.dev/hours=weekdays 09-16 UTC")?;
    let halted = scene.await_end("one")?;
    assert_eq!(halted.reason, Some(Reason::Halted));
    let expected = "namespace shop: annotation chaos-agent.dev/hours cannot be read:\n\
                    weekdays 09-16 UTC\n^ `weekdays` is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun";
    assert_eq!(halted.message, expected);
    assert_eq!(scene.texts()?.len(), 0);
    Ok(())
}
