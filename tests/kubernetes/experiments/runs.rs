//! What runs do to pods, from the beginning to the end.

use anyhow::Result;
use chaos_api::kinds::{Reason, RunPhase};
use chaos_kube::{FAULTS, GUARD, HALT};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::scene::{SHOP, Scene, one_step};

#[test]
fn a_run_breaks_picked_pods_follows_them_and_is_halted() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    // A plan touches nothing.
    scene.run("plan", json!({ "inline": one_step(json!("50%"), "5m"), "mode": "Plan" }))?;
    let planned = scene.await_end("plan")?;
    assert_eq!(planned.reason, Some(Reason::Planned));
    assert!(
        planned.message.starts_with("slow would break 2 pods, of 4 selected, on "),
        "{planned:?}"
    );
    scene.run("refused", json!({ "inline": one_step(json!(5), "5m") }))?;
    assert_eq!(scene.await_end("refused")?.reason, Some(Reason::Refused));
    assert!(scene.texts()?.is_empty());

    // What a human has written stays, and is told.
    let annotate = |pod: &str, change: &str| {
        scene.plane.kubectl(&["annotate", "pod", pod, "--namespace", SHOP, "--overwrite", change])
    };
    annotate("web-0", &format!("{FAULTS}=drop 1%"))?;
    scene.experiment("slow", one_step(json!("50%"), "5m"))?;
    scene.run("run", json!({ "experiment": "slow" }))?;
    let status = scene
        .await_run("run", |status| status.targets.armed == 2 && status.ledger.matched == 20)?;
    assert_eq!((status.phase, status.summary.targets.as_str()), (RunPhase::Running, "2/2"));
    assert_eq!((status.ledger.injected, status.ledger.spared), (8, 12));
    assert_eq!(status.exceptions[0].message, "taken by kubectl-annotate");
    let texts = scene.texts()?;
    assert_eq!(texts.len(), 2);
    let ends = status.steps[0].ends.as_ref().expect("a step ends").0;
    for text in texts.values() {
        let sentence = text.lines().nth(1).unwrap_or_default();
        assert!(sentence.starts_with("delay 200ms egress tcp to 10.96.0.12 for "), "{text}");
        assert!(sentence.ends_with(&format!(" until {ends} as run/slow guarded")), "{text}");
    }

    // One of them goes, and another takes its place; a human takes the other one over.
    let names: Vec<&String> = texts.keys().collect();
    scene.delete_pod(names[0])?;
    scene.pod("new", "node-b")?;
    let texts = scene.await_that("a replacement", || {
        scene.answer()?;
        let texts = scene.texts()?;
        Ok(if texts.len() == 2 && !texts.contains_key(names[0]) { Ok(texts) } else { Err(texts) })
    })?;
    assert!(texts.contains_key(names[1]));
    annotate(names[1], &format!("{FAULTS}=corrupt 1%"))?;
    scene.await_that("taken over", || {
        scene.answer()?;
        let pod = scene.runtime.block_on(scene.pods().get(names[1]))?;
        let text = pod.annotations().get(FAULTS).cloned();
        let status = scene.runtime.block_on(scene.runs().get("run"))?.status;
        let is_told =
            status.is_some_and(|status| status.exceptions.iter().any(|one| one.count == 2));
        Ok(if is_told && text.as_deref() == Some("corrupt 1%") { Ok(()) } else { Err(text) })
    })?;

    scene.halt("run")?;
    let halted = scene.await_end("run")?;
    assert_eq!(halted.reason, Some(Reason::Halted));
    // Each pod has a line, also the one that is gone.
    let report = scene.report(&halted)?;
    let of = |pod: &str| report.iter().find(|line| line["pod"] == pod);
    for pod in &names {
        let line = of(pod).unwrap_or_else(|| panic!("{pod}: {report:?}"));
        assert_eq!((&line["step"], &line["injected"]), (&json!("slow"), &json!(4)));
    }
    assert!(of("web-0").is_none(), "{report:?}");
    assert!(scene.texts()?.is_empty());
    let pod = scene.runtime.block_on(scene.pods().get("web-0"))?;
    assert_eq!(pod.annotations()[FAULTS], "drop 1%");

    // As long as the whole cluster is halted, nothing is begun, or it is ended at once.
    let lever = format!("{HALT}=INC-4711");
    let lease = ["annotate", "lease", GUARD, "--namespace=chaos-agent"];
    scene.plane.kubectl(&[&lease[..], &[&lever]].concat())?;
    scene.run("late", json!({ "inline": one_step(json!(1), "5m") }))?;
    assert_eq!(scene.await_end("late")?.message, "the cluster is halted: INC-4711");
    assert!(scene.texts()?.is_empty());
    let plan = scene.runtime.block_on(scene.runs().get("plan"))?;
    assert_eq!(plan.status.and_then(|status| status.report), None);
    let reasons = scene.plane.event_reasons(SHOP)?;
    for reason in ["StepStarted", "Halted", "Planned", "PlanRefused"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    Ok(())
}

#[test]
fn a_run_ends_by_itself_and_with_what_is_deleted() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    scene.experiment("slow", one_step(json!(1), "5m"))?;
    scene.run("short", json!({ "inline": one_step(json!(1), "3s") }))?;
    scene.run("deleted", json!({ "inline": one_step(json!(1), "5m") }))?;
    scene.run("orphan", json!({ "experiment": "slow", "mode": "Shadow" }))?;
    for run in ["deleted", "orphan"] {
        scene.await_run(run, |status| status.targets.armed == 1)?;
    }
    let texts = scene.texts()?;
    assert!(texts.values().any(|text| text.contains("\nshadow delay 200ms")), "{texts:?}");
    let now = DeleteParams::default();
    scene.runtime.block_on(scene.runs().delete("deleted", &now))?;
    let experiments: kube::Api<chaos_api::kinds::Experiment> =
        kube::Api::namespaced(scene.admin.clone(), SHOP);
    scene.runtime.block_on(experiments.delete("slow", &now))?;
    assert_eq!(scene.await_end("orphan")?.reason, Some(Reason::ExperimentDeleted));
    let ended = scene.await_end("short")?;
    assert_eq!((ended.reason, ended.ledger.injected), (Some(Reason::Completed), 4));
    scene.await_texts(0)?;
    // Nothing keeps an object from being deleted.
    let runs = scene.runtime.block_on(scene.runs().list(&ListParams::default()))?;
    assert!(runs.iter().all(|run| run.finalizers().is_empty()));
    Ok(())
}
