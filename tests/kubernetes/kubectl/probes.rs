//! Probes that are typed beside a sentence, and what a pipeline learns of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_api::kinds::RunPhase;

use super::plugin::User;
use crate::experiments::{
    scene::{Controller, Scene},
    service::{Answer, Service},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_page_that_breaks_is_told_by_the_exit_code_and_the_report() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let networks = ["--probe-networks=127.0.0.0/8"];
    let _controller = Controller::start_with(&scene.account, "a", &networks)?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner", "system:aggregate-to-view"], &[])?;
    let probe = format!("{}/shop expect status == 200", service.url());
    let sentence = "delay 10ms egress tcp to 10.96.0.12";

    let run = ["run", "pod/web-0", sentence, "--for", "3s", "--name", "held", "--wait"];
    let probes = ["--probe", probe.as_str(), "--hypothesis", "the shop stays"];
    let held = user.says_meanwhile(&scene, &[&run[..], &probes].concat())?;
    held.expect(
        0,
        &[
            "the probes are asked before anything is broken",
            "probe probe: pass",
            "verdict: Confirmed (AllInjected)",
            "hypothesis: Held (AllHeld)",
        ],
    )?;

    let run = ["run", "pod/web-1", sentence, "--for", "5m", "--name", "broken", "--wait"];
    let mut watching = user.begins(&[&run[..], &probes].concat())?;
    scene.await_that("the Run", || {
        let run = scene.runtime.block_on(scene.runs().get_opt("broken"))?;
        Ok(run.map(|_| ()).ok_or("it is not made yet"))
    })?;
    scene.await_run("broken", |status| status.ledger.matched > 0)?;
    service.set("/shop", Answer::of(500));
    scene.await_run("broken", |status| status.phase == RunPhase::Recovering)?;
    service.heal();
    scene.await_end("broken")?;
    assert_eq!(watching.wait(PATIENCE)?.code(), Some(3));
    let lines: Vec<String> = watching.remaining_lines().collect();
    for part in ["probe probe: fail", "every step has ended", "hypothesis: Deviated (ProbeBroke)"] {
        ensure!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }

    let page = user.says(&["report", "broken", "-o", "html"])?;
    page.expect(
        0,
        &["Deviated", "the shop stays", "<polyline class=\"values\"", "ProbeBroke</text>"],
    )?;
    let junit = user.says(&["report", "broken", "-o", "junit", "--exit-code"])?;
    junit.expect(3, &["name=\"hypothesis\"", "<failure type=\"ProbeBroke\""])?;
    let compared = user.says(&["report", "held", "--compare", "broken"])?;
    compared.expect(0, &["**hypothesis**", "Held (AllHeld) | Deviated (ProbeBroke)"])?;
    Ok(())
}
