//! Runs from the beginning to the end, as the plugin makes, shows and halts them.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use chaos_api::kinds::Reason;
use chaos_kube::{GUARD, HALT};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::plugin::User;
use crate::experiments::scene::{SHOP, Scene, one_step};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a Run that the plugin is about to make, until its pod is armed.
fn await_armed(scene: &Scene, name: &str) -> Result<()> {
    scene.await_that(name, || {
        scene.answer()?;
        let run = scene.runtime.block_on(scene.runs().get_opt(name))?;
        let status = run.and_then(|run| run.status);
        Ok(match status {
            Some(status) if status.targets.armed == 1 => Ok(()),
            other => Err(other),
        })
    })
}

fn deployment() -> Value {
    let labels = json!({ "app": "web" });
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": SHOP },
        "spec": { "selector": { "matchLabels": labels },
                  "template": { "metadata": { "labels": labels },
                                "spec": { "containers": [{ "name": "main", "image": "none" }] } } } })
}

#[test]
fn runs_are_made_watched_and_halted() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    scene.plane.apply(&deployment().to_string())?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner"], &["chaos-lever", "chaos-doctor"])?;

    // A plan shows everything, touches nothing and is gone afterwards.
    let sentence = "drop 20% egress tcp to 10.96.0.12 for 1m";
    let planned = user.says(&["plan", "deploy/web", sentence, "--pick", "50%"])?;
    planned
        .expect(0, &["can be done", "4 ready pods selected", "2 picked", "drop 20% egress tcp"])?;
    let refused = user.says(&["plan", "-l", "app=web", sentence, "--pick", "9"])?;
    refused.expect(4, &["is refused", "9 pods are to be picked of 4"])?;
    user.says(&["list"])?.expect(0, &["there are no Runs in namespace shop"])?;
    assert!(scene.texts()?.is_empty());

    // A short one is waited for.
    let short = "delay 10ms egress tcp to 10.96.0.12 for 3s";
    let said =
        user.says_meanwhile(&scene, &["run", "pod/web-1", short, "--name", "short", "--wait"])?;
    said.expect(
        0,
        &["short\n", "step fault: running", "1/1 armed", "Completed: every step was done"],
    )?;
    let pods = scene.await_end("short")?;
    assert_eq!((pods.reason, pods.targets.selected), (Some(Reason::Completed), 1));

    // A long one is made, watched, and halted by somebody else meanwhile.
    let made = user.says(&["run", "deploy/web", sentence, "--pick", "50%", "-o", "name"])?;
    let name = made.expect(0, &["run.chaos-agent.dev/web-drop-"])?.output;
    let name = name.trim().trim_start_matches("run.chaos-agent.dev/").to_owned();
    let mut watching = user.begins(&["watch", &name])?;
    scene.await_run(&name, |status| status.targets.armed == 2)?;
    user.says(&["list"])?.expect(0, &[&name, "Running", "2/2"])?;
    user.says(&["top", "--once"])?.expect(0, &["PER S", &name, "Running", "2/2"])?;
    let status = user.says(&["why", "pod/web-0"])?;
    status.expect(0, &["shop/web-0 on node node-a"])?;
    // The first Ctrl-C says that the Run goes on, and it is watched on.
    watching.signal(Signal::SIGINT)?;
    let halted = user.says(&["halt", &name, "--reason", "INC-4711"])?;
    halted.expect(0, &["is being halted"])?;
    // Until agents say so, faults count as armed, and the Run waits for what they have counted.
    let waiting = user.says(&["halt", &name, "--wait", "--timeout", "1s"])?;
    waiting.expect(1, &["is being halted", "2 pods still say that faults are armed"])?;
    scene.await_end(&name)?;
    assert_eq!(watching.wait(PATIENCE)?.code(), Some(5));
    let lines: Vec<String> = watching.remaining_lines().collect();
    assert!(
        lines.iter().any(|line| line.ends_with("Halted: it was halted (INC-4711)")),
        "{lines:#?}"
    );

    let ended = user.says(&["halt", &name, "--wait"])?;
    ended.expect(0, &["had ended before", "no fault is armed any more"])?;

    // Ctrl-C twice leaves the Run alone; with the option, once halts it.
    let mut leaving = user.begins(&["run", "deploy/web", sentence, "--name", "left", "--wait"])?;
    await_armed(&scene, "left")?;
    leaving.signal(Signal::SIGINT)?;
    std::thread::sleep(Duration::from_millis(300));
    leaving.signal(Signal::SIGINT)?;
    assert_eq!(leaving.wait(PATIENCE)?.code(), Some(130));
    user.says(&["halt", "--all"])?.expect(0, &["run left is being halted"])?;
    scene.await_end("left")?;
    let words = ["run", "deploy/web", sentence, "--name", "kept", "--wait", "--halt-on-interrupt"];
    let mut keeping = user.begins(&words)?;
    await_armed(&scene, "kept")?;
    keeping.signal(Signal::SIGINT)?;
    scene.await_end("kept")?;
    assert_eq!(keeping.wait(PATIENCE)?.code(), Some(5));
    Ok(())
}

#[test]
fn experiments_are_started_and_the_lever_is_pulled() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner"], &["chaos-lever"])?;
    let mut slow = one_step(json!("50%"), "5m");
    slow["params"] = json!({ "latency": "200ms" });
    slow["steps"][0]["fault"]["do"] = json!("delay $(latency) egress tcp to 10.96.0.12");
    scene.experiment("slow", slow)?;
    user.says(&["start", "slwo"])?
        .expect(2, &["there is no experiment slwo", "did you mean `slow`?"])?;
    user.says(&["start", "slow", "--param", "x=1"])?.expect(2, &["`x` is no parameter"])?;
    let injected = ["start", "slow", "--param", "latency=1s; kill container"];
    user.says(&injected)?.expect(2, &["the value of `$(latency)` has ';'"])?;
    user.says(&["start", "slow", "--mode", "shadow", "--name", "one"])?.expect(0, &["one\n"])?;
    scene.await_run("one", |status| status.targets.armed == 2)?;
    let listed = user.says(&["list", "-o", "json"])?.expect(0, &[])?.output;
    let listed: Value = serde_json::from_str(&listed)?;
    assert_eq!(listed["items"][0]["spec"]["mode"], "Shadow");
    user.completes(&["halt", ""])?.expect(0, &["one\n:4"])?;
    user.completes(&["start", "s"])?.expect(0, &["slow\n:4"])?;

    let pulled = user.says(&["halt", "--cluster", "--reason", "INC-4711"])?;
    pulled.expect(0, &["the cluster is halted", "resume --cluster"])?;
    assert_eq!(scene.await_end("one")?.message, "the cluster is halted: INC-4711");
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let experiment = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment",
        "metadata": { "name": "file", "namespace": SHOP }, "spec": one_step(json!(1), "3s") });
    fs::write(file.path(), experiment.to_string())?;
    let path = file.path().to_str().context("a path")?;
    let refused = user.says(&["run", "-f", path, "--wait"])?;
    refused.expect(4, &["Refused: the cluster is halted: INC-4711"])?;
    user.says(&["resume", "--cluster"])?.expect(0, &["Runs may begin again"])?;
    let lever = scene.plane.kubectl(&[
        "get",
        "lease",
        GUARD,
        "--namespace=chaos-agent",
        "--output=json",
    ])?;
    let lever: Value = serde_json::from_str(&lever)?;
    assert_eq!(lever["metadata"]["annotations"][HALT], "");
    // The controller learns of it when it renews the Lease.
    let give_up = Instant::now() + PATIENCE;
    loop {
        let said = user.says(&["plan", "-f", path])?;
        if said.code == 0 {
            break;
        }
        assert!(Instant::now() < give_up, "{}{}", said.output, said.errors);
    }
    // What has mistakes is not made.
    let wrong = experiment.to_string().replace("delay 200ms", "dealy 200ms");
    fs::write(file.path(), wrong)?;
    user.says(&["run", "-f", path])?.expect(1, &["did you mean `delay`?", ".yaml:1:"])?;
    Ok(())
}
