//! Steps that remove pods, by the rights of the manifests and beside PodDisruptionBudgets, and what becomes of old runs.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::Result;
use chaos_api::kinds::Reason;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use super::scene::{SHOP, Scene, one_step};

fn removing(action: &str, pick: u32) -> Value {
    json!({ "inline": {
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": pick } },
        "steps": [{ "name": "kill", "timeout": "1m",
                    "pods": { "target": "web", "action": action, "gracePeriod": "0s" } }] } })
}

fn uids(scene: &Scene) -> Result<BTreeSet<String>> {
    let pods = scene.runtime.block_on(scene.pods().list(&ListParams::default()))?;
    Ok(pods.iter().filter_map(|pod| pod.uid()).collect())
}

/// Says of the budget how many disruptions it allows, as a controller of Kubernetes would.
fn allow(scene: &Scene, disruptions: u32) -> Result<()> {
    let status = json!({ "status": { "observedGeneration": 1, "disruptionsAllowed": disruptions,
        "currentHealthy": 4, "desiredHealthy": 3, "expectedPods": 4 } });
    let patch = ["patch", "poddisruptionbudget", "web", "--namespace", SHOP, "--type=merge"];
    let status = ["--subresource=status", "--patch", &status.to_string()];
    scene.plane.kubectl(&[&patch[..], &status].concat())?;
    Ok(())
}

#[test]
fn pods_are_deleted_and_evicted_once_where_that_is_allowed() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    scene.run("forbidden", removing("Delete", 2))?;
    let refused = scene.await_end("forbidden")?;
    assert!(refused.message.contains("does not allow `delete pods`"), "{refused:?}");
    let verbs = "chaos-agent.dev/allow-verbs=default, delete pods, evict pods";
    scene.plane.kubectl(&["annotate", "namespace", SHOP, verbs])?;

    let before = uids(&scene)?;
    scene.run("deleting", removing("Delete", 2))?;
    let status = scene.await_end("deleting")?;
    assert_eq!((status.reason, status.summary.targets.as_str()), (Some(Reason::Completed), "2/2"));
    let after = uids(&scene)?;
    assert!(after.is_subset(&before) && after.len() == 2, "{after:?}");
    for name in ["new-0", "new-1"] {
        scene.pod(name, "node-a")?;
    }

    let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "web", "namespace": SHOP },
        "spec": { "minAvailable": 3, "selector": { "matchLabels": { "app": "web" } } } });
    scene.plane.apply(&budget.to_string())?;
    allow(&scene, 1)?;
    // One that has to wait is told, and goes when it may.
    scene.run("evicting", removing("Evict", 2))?;
    let waiting = scene.await_run("evicting", |status| status.targets.refused == 1)?;
    assert_eq!(waiting.summary.targets, "1/2");
    let expected = "a PodDisruptionBudget does not allow its eviction now";
    assert_eq!(waiting.exceptions[0].message, expected);
    assert_eq!(uids(&scene)?.len(), 3);
    allow(&scene, 1)?;
    let status = scene.await_end("evicting")?;
    assert_eq!((status.reason, status.summary.targets.as_str()), (Some(Reason::Completed), "2/2"));
    assert_eq!(uids(&scene)?.len(), 2);

    // Faults and deletions count against the budget, too.
    allow(&scene, 0)?;
    for (name, spec) in [
        ("one-more", removing("Delete", 1)),
        ("broken", json!({ "inline": one_step(json!(1), "5m") })),
    ] {
        scene.await_that("a refusal by the budget", || {
            scene.run(name, spec.clone())?;
            let status = scene.await_end(name)?;
            let is_by_budget = status.message.contains("PodDisruptionBudget web allows no more");
            scene.plane.kubectl(&["delete", "run", name, "--namespace", SHOP])?;
            Ok(if is_by_budget { Ok(()) } else { Err(status) })
        })?;
    }
    assert_eq!((uids(&scene)?.len(), scene.texts()?.len()), (2, 0));
    Ok(())
}

#[test]
fn finished_runs_that_are_not_kept_are_deleted() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    let mut spec = one_step(json!(1), "5m");
    spec["keep"] = json!({ "finished": 1 });
    scene.experiment("slow", spec)?;
    scene.run("live", json!({ "experiment": "slow" }))?;
    scene.await_run("live", |status| status.targets.armed == 1)?;
    for name in ["first", "second", "third"] {
        scene.run(name, json!({ "experiment": "slow", "mode": "Plan" }))?;
        scene.await_that("its end", || {
            let run = scene.runtime.block_on(scene.runs().get_opt(name))?;
            let status = run.as_ref().and_then(|run| run.status.as_ref());
            let is_over = status.is_none_or(|status| status.reason == Some(Reason::Planned));
            Ok(if run.is_none() || status.is_some() && is_over { Ok(()) } else { Err(run) })
        })?;
        // Times of objects are whole seconds.
        thread::sleep(Duration::from_millis(1100));
    }
    scene.await_that("one that is kept", || {
        let runs = scene.runtime.block_on(scene.runs().list(&ListParams::default()))?;
        let names: Vec<String> = runs.iter().map(ResourceExt::name_any).collect();
        Ok(if names == ["live", "third"] { Ok(()) } else { Err(names) })
    })?;
    assert_eq!(scene.texts()?.len(), 1);
    Ok(())
}
