//! The Runs on a terminal, and the keys that halt one.

use anyhow::{Result, ensure};
use chaos_api::kinds::Reason;
use serde_json::json;

use super::{plugin::User, terminal::Terminal};
use crate::experiments::scene::{Scene, one_step};

#[test]
fn a_key_and_a_yes_halt_the_chosen_run_where_its_user_may() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    let halter = User::new(&scene.plane, "hal", &["chaos-halter"], &[])?;
    let viewer = User::new(&scene.plane, "eve", &["chaos-viewer"], &[])?;
    for name in ["first", "second"] {
        scene.run(name, json!({ "inline": one_step(json!(1), "5m") }))?;
        scene.await_run(name, |status| status.targets.armed == 1)?;
    }

    let mut top = Terminal::start(viewer.command(&["top"])?)?;
    top.await_shown("second")?;
    top.press("h")?;
    top.await_shown("halt shop/first? y halts it, any other key does not")?;
    top.press("y")?;
    top.await_shown("you may not patch runs.chaos-agent.dev")?;
    top.press("q")?;
    ensure!(top.wait()?.code() == Some(0));

    let mut top = Terminal::start(halter.command(&["top"])?)?;
    top.await_shown("second")?;
    top.press("h")?;
    top.await_shown("halt shop/first?")?;
    top.press("n")?;
    top.await_shown("h halt")?;
    top.press("j")?;
    top.press("h")?;
    top.await_shown("halt shop/second?")?;
    top.press("y")?;
    top.await_shown("shop/second is being halted")?;
    let status = scene.await_end("second")?;
    ensure!(status.reason == Some(Reason::Halted), "{status:#?}");
    top.press("q")?;
    ensure!(top.wait()?.code() == Some(0));
    // What was asked for and not said yes to, and what was not allowed, was not done.
    let first = scene.runtime.block_on(scene.runs().get("first"))?;
    ensure!(!first.spec.halt, "{first:#?}");
    Ok(())
}
