//! Reports of Runs, as their readers get them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::plugin::User;
use crate::experiments::scene::{SHOP, Scene};

/// An experiment of three seconds.
fn short(sentence: &str) -> Value {
    json!({ "inline": {
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": "50%" } },
        "steps": [{ "name": "slow", "fault": { "target": "web", "do": sentence, "for": "3s" } }] } })
}

#[test]
fn runs_are_reported_and_compared() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    let runner = User::new(&scene.plane, "ada", &["chaos-runner"], &[])?;
    let viewer = User::new(&scene.plane, "eve", &["chaos-viewer", "chaos-reporter"], &[])?;
    // Somebody has made an object of the name that the report of a Run will have.
    let taken = ["create", "configmap", "taken-report", "--namespace", SHOP, "--from-literal=a=b"];
    scene.plane.kubectl(&taken)?;
    for (name, sentence) in [
        ("slow", "delay 10ms egress tcp to 10.96.0.12"),
        ("lossy", "drop 20% egress tcp to 10.96.0.12"),
        ("taken", "drop 20% egress tcp to 10.96.0.12"),
    ] {
        scene.run(name, short(sentence))?;
        scene.await_end(name)?;
    }

    // What may not be read is told, and the rest is said all the same.
    let partial = runner.says(&["report", "slow"])?;
    partial.expect(
        0,
        &["Run shop/slow", "you may not get configmaps", "the ClusterRole chaos-reporter has it"],
    )?;
    let whole = viewer.says(&["report", "slow"])?;
    let whole = whole.expect(
        0,
        &["Run shop/slow: Confirmed", "delay 10ms egress tcp", "## Pods", "`shop/web-"],
    )?;
    assert_eq!(whole.errors, "");
    let lines = viewer.says(&["report", "slow", "-o", "json"])?.expect(0, &[])?.output;
    let lines: Value = serde_json::from_str(&lines)?;
    assert_eq!(lines["schema"], "chaos-agent.dev/report/v1");
    assert_eq!(lines["pods"].as_array().context("pods")?.len(), 2);
    let page = viewer.says(&["report", "slow", "-o", "html"])?;
    page.expect(0, &["<!DOCTYPE html>", "default-src 'none'", "Confirmed", "web-"])?;

    // Ten events are too few to tell that every fifth is dropped.
    let junit = viewer.says(&["report", "lossy", "-o", "junit", "--exit-code"])?;
    junit.expect(4, &["<testsuites>", "name=\"verdict\"", "<error type=\"LittleTraffic\""])?;
    let compared = viewer.says(&["report", "slow", "--compare", "lossy"])?;
    compared.expect(0, &["# shop/slow and shop/lossy", "| ≠ | **verdict** | Confirmed"])?;

    let taken = viewer.says(&["report", "taken"])?;
    taken
        .expect(0, &["the ConfigMap taken-report does not belong to the Run", "Run shop/taken"])?;
    let conditions = scene.await_end("taken")?.conditions;
    let told = conditions.iter().find(|condition| condition.type_ == "Reported");
    let told = told.context("the status tells that the report was not written")?;
    assert!(told.message.contains("the controller may write reports of runs only"), "{told:?}");
    viewer.says(&["report", "none"])?.expect(1, &["there is no run none in namespace shop"])?;
    Ok(())
}
