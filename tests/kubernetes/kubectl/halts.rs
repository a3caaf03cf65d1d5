//! Halts that are waited for, where rights or controllers are missing.

use anyhow::Result;
use serde_json::json;

use super::plugin::User;
use crate::experiments::scene::{Scene, one_step};

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
