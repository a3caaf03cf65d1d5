//! Controllers that are killed, and several at once.

use std::{collections::BTreeMap, thread};

use anyhow::{Context, Result};
use chaos_api::kinds::RunPhase;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use super::scene::{LEASE, Scene, one_step};

/// Who leads.
fn holder(scene: &Scene) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(scene.admin.clone(), "chaos-agent");
    let lease = scene.runtime.block_on(leases.get_opt("chaos-controller"))?;
    Ok(lease.and_then(|lease| lease.spec?.holder_identity))
}

/// Waits until a controller of this name leads.
pub fn await_holder(scene: &Scene, name: &str) -> Result<()> {
    scene.await_that("the holder of the Lease", || {
        let holder = holder(scene)?;
        let is = holder.as_deref().is_some_and(|holder| holder.starts_with(&format!("{name}_")));
        Ok(if is { Ok(()) } else { Err(holder) })
    })
}

/// Which texts are on which pods, and the versions of these pods: they change with every write.
fn versions(scene: &Scene) -> Result<BTreeMap<String, Option<String>>> {
    let texts = scene.texts()?;
    let pods = scene.runtime.block_on(scene.pods().list(&ListParams::default()))?;
    let with_text = pods.iter().filter(|pod| texts.contains_key(&pod.name_any()));
    Ok(with_text.map(|pod| (pod.name_any(), pod.resource_version())).collect())
}

#[test]
fn a_killed_leader_is_succeeded_and_nothing_is_done_twice() -> Result<()> {
    let scene = Scene::set()?;
    let first = scene.controller("first")?;
    await_holder(&scene, "first")?;
    let second = scene.controller("second")?;
    scene.run("run", json!({ "inline": one_step(json!(3), "5m") }))?;
    // Killed as soon as the step is written, before, amid or after its texts.
    let begun = scene.await_that("the step", || {
        let status = scene.runtime.block_on(scene.runs().get("run"))?.status;
        Ok(status.ok_or("no status"))
    })?;
    first.kill()?;
    assert_eq!(begun.phase, RunPhase::Running);
    let before = versions(&scene)?;
    assert!(before.len() <= 3, "{before:?}");
    let texts = scene.texts()?;

    await_holder(&scene, "second")?;
    let after = scene.await_texts(3)?;
    for (pod, text) in texts {
        assert_eq!(after.get(&pod), Some(&text), "{pod} was written again");
    }
    let versions_after = versions(&scene)?;
    for (pod, version) in &before {
        assert_eq!(versions_after.get(pod), Some(version), "{pod} was written again");
    }
    let status = scene.await_run("run", |status| status.targets.armed == 3)?;
    assert_eq!(status.steps[0].started, begun.steps[0].started);
    assert_eq!((status.steps[0].picked, begun.steps[0].picked), (3, 3));

    // One that is told to stop gives the Lease up, so that the next need not wait.
    second.stop()?;
    assert_eq!(holder(&scene)?.unwrap_or_default(), "");
    // What nobody leads, nobody changes.
    scene.halt("run")?;
    thread::sleep(LEASE / 3);
    assert_eq!(scene.texts()?.len(), 3);
    let third = scene.controller("third")?;
    scene.await_end("run")?;
    assert!(scene.texts()?.is_empty());
    third.kill().context("end the third")
}
