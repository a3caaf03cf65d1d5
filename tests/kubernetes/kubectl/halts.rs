//! Halts that are waited for, where rights or controllers are missing.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::plugin::User;
use crate::experiments::scene::{SHOP, Scene, one_step};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_halter_learns_of_the_end_without_a_right_on_pods() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    let halter = User::new(&scene.plane, "hal", &["chaos-halter"], &[])?;
    scene.run("run", json!({ "inline": one_step(json!("all"), "5m") }))?;
    scene.await_run("run", |status| status.targets.armed == 4)?;
    let halted = halter.says_meanwhile(&scene, &["halt", "run", "--wait"])?;
    halted.expect(
        0,
        &["every Run has ended, and its faults were taken away", "you may not list pods"],
    )?;
    assert!(scene.texts()?.is_empty());
    Ok(())
}

#[test]
fn a_halt_that_no_controller_follows_says_so() -> Result<()> {
    let scene = Scene::set()?;
    let controller = scene.controller("a")?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner"], &["chaos-lever"])?;
    scene.run("run", json!({ "inline": one_step(json!("all"), "5m") }))?;
    scene.await_run("run", |status| status.targets.armed == 4)?;
    controller.kill()?;
    let halted = user.says(&["halt", "run", "--wait", "--timeout", "5m"])?;
    halted.expect(
        1,
        &[
            "no controller leads: the Lease chaos-controller has not moved",
            "4 pods have faults armed, which end by themselves",
            "`kubectl chaos doctor`",
        ],
    )?;
    Ok(())
}

#[test]
fn a_halt_that_is_not_taken_is_tried_until_it_is() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    // Who may make Runs need not be one who may halt them.
    let rule =
        ["create", "clusterrole", "maker", "--verb=create", "--resource=runs.chaos-agent.dev"];
    scene.plane.kubectl(&rule)?;
    let user = User::new(&scene.plane, "ada", &["chaos-viewer", "maker"], &[])?;
    scene.experiment("slow", one_step(json!(1), "5m"))?;
    let start = ["start", "slow", "--name", "run", "--wait", "--halt-on-interrupt"];
    let mut watching = user.begins_aloud(&start)?;
    scene.await_that("the Run", || {
        let run = scene.runtime.block_on(scene.runs().get_opt("run"))?;
        Ok(run.map(|_| ()).ok_or("it is not made yet"))
    })?;
    scene.await_run("run", |status| status.targets.armed == 1)?;
    watching.signal(Signal::SIGTERM)?;
    let refusals = |watching: &chaos_tests::process::Process| -> Result<String> {
        loop {
            let line = watching.line(PATIENCE)?;
            if line.contains("The Run goes on: you may not patch runs.chaos-agent.dev") {
                return Ok(line);
            }
        }
    };
    let told = refusals(&watching)?;
    let how = format!("`kubectl chaos halt run -n {SHOP}` halts it; trying again");
    ensure!(told.contains(&how), "{told}");
    // It is tried again, and again.
    refusals(&watching)?;
    User::bind(&scene.plane, "ada", "chaos-halter")?;
    scene.await_end("run")?;
    ensure!(watching.wait(PATIENCE)?.code() == Some(5));
    let lines: Vec<String> = watching.remaining_lines().collect();
    ensure!(lines.iter().any(|line| line.contains("The Run is being halted")), "{lines:#?}");
    Ok(())
}
