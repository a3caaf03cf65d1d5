//! What probes do to runs: a steady state first, an end when a probe says so, and a result for the hypothesis.

use anyhow::{Context as _, Result};
use chaos_api::kinds::{
    Hypothesis, HypothesisReason, ProbeState, Reason, RunPhase, RunStatus, StepPhase, Verdict,
};
use serde_json::{Value, json};

use super::{
    failures::await_holder,
    scene::{Controller, SHOP, Scene, one_step},
    service::{Answer, Service},
};

fn controller(scene: &Scene, identity: &str) -> Result<Controller> {
    Controller::start_with(&scene.account, identity, &["--probe-networks=127.0.0.0/8"])
}

/// A probe of a page that is asked each second.
fn probe(service: &Service, name: &str, fields: Value) -> Value {
    let url = format!("{}/{name}", service.url());
    let mut probe = json!({ "name": name, "http": { "url": url, "timeout": "1s" }, "every": "1s" });
    let fields = fields.as_object().expect("fields are an object").clone();
    probe.as_object_mut().expect("a probe is an object").extend(fields);
    probe
}

/// A fault on one pod.
fn fault(lasting: &str, probes: Value) -> Value {
    let mut spec = one_step(json!(1), lasting);
    spec["probes"] = probes;
    spec
}

fn result(status: &RunStatus) -> (Option<Reason>, Option<Hypothesis>, Option<HypothesisReason>) {
    (status.reason, status.hypothesis, status.hypothesis_reason)
}

#[test]
fn a_probe_that_breaks_ends_the_run_and_its_recovery_is_watched() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, "a")?;
    scene.run(
        "run",
        json!({ "inline": fault("5m", json!([probe(&service, "shop", json!({}))])) }),
    )?;
    let status = scene.await_run("run", |status| status.ledger.matched > 0)?;
    assert!(service.asked("/shop") >= 3, "{}", service.asked("/shop"));
    let seen = &status.probes[0];
    assert!(seen.checks >= 3 && seen.baseline.is_some_and(|seconds| seconds > 0.0), "{seen:?}");

    service.set("/shop", Answer::of(500));
    scene.await_run("run", |status| status.reason == Some(Reason::ProbeBroke))?;
    scene.await_texts(0)?;
    let status = scene.await_run("run", |status| status.phase == RunPhase::Recovering)?;
    assert!(status.message.contains("probe shop has failed: 500"), "{}", status.message);
    service.heal();
    let status = scene.await_end("run")?;
    let expected =
        (Some(Reason::ProbeBroke), Some(Hypothesis::Deviated), Some(HypothesisReason::ProbeBroke));
    assert_eq!(result(&status), expected, "{status:#?}");
    assert_eq!(status.verdict, Some(Verdict::Confirmed), "{}", status.verdict_message);

    let report = scene.report(&status)?;
    let failed = |line: &&Value| line["kind"] == "sample" && line["outcome"] == "Fail";
    let sample = report.iter().find(failed).context("the failure is in the report")?;
    assert_eq!(sample["probe"], "shop");
    assert!(sample["seen"].as_str().is_some_and(|seen| seen.starts_with("500")), "{sample}");
    let told =
        |what: &str| report.iter().any(|line| line["kind"] == "event" && line["what"] == what);
    for what in
        ["Baseline", "Steady", "StepStarted", "ProbeBroke", "Recovering", "Recovered", "Halted"]
    {
        assert!(told(what), "{what}: {report:?}");
    }
    let reasons = scene.plane.event_reasons(SHOP)?;
    for reason in ["ProbeBroke", "Recovered", "Halted"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    Ok(())
}

#[test]
fn runs_end_as_their_probes_say() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, "a")?;
    // A baseline that is broken arms nothing; a plan asks once.
    service.set("/broken", Answer::of(503));
    let broken = json!([probe(&service, "broken", json!({}))]);
    scene.run("broken", json!({ "inline": fault("5m", broken.clone()) }))?;
    let status = scene.await_end("broken")?;
    assert_eq!(
        result(&status),
        (
            Some(Reason::BaselineBroken),
            Some(Hypothesis::Unknown),
            Some(HypothesisReason::BaselineBroken)
        )
    );
    assert_eq!((scene.texts()?.len(), status.steps[0].phase), (0, StepPhase::Pending));
    let asked = service.asked("/broken");
    scene.run("plan", json!({ "inline": fault("5m", broken), "mode": "Plan" }))?;
    let status = scene.await_end("plan")?;
    assert_eq!((status.reason, service.asked("/broken")), (Some(Reason::Planned), asked + 1));
    assert!(status.message.contains("probe broken does not hold (503"), "{}", status.message);

    // What must break, and one that nobody can see any more.
    for (name, page) in [("breaks", "breaks"), ("holds", "holds"), ("blind", "blind")] {
        let during = if name == "blind" { "Halt" } else { "MustBreak" };
        let probes = json!([probe(&service, page, json!({ "during": during }))]);
        scene.run(name, json!({ "inline": fault("8s", probes) }))?;
    }
    scene.await_texts(3)?;
    service.set("/breaks", Answer::of(500));
    service.set("/blind", Answer::endless());
    scene.await_run("breaks", |status| status.probes.iter().any(|probe| probe.broke > 0))?;
    scene.await_run("blind", |status| status.reason == Some(Reason::ProbeBlind))?;
    service.heal();
    let expected = [
        ("breaks", Reason::Completed, Hypothesis::Held, HypothesisReason::AllHeld),
        ("holds", Reason::Completed, Hypothesis::Deviated, HypothesisReason::NeverBroke),
        ("blind", Reason::ProbeBlind, Hypothesis::Unknown, HypothesisReason::ProbeBlind),
    ];
    for (name, reason, hypothesis, why) in expected {
        let status = scene.await_end(name)?;
        assert_eq!(result(&status), (Some(reason), Some(hypothesis), Some(why)), "{status:#?}");
    }
    let reasons = scene.plane.event_reasons(SHOP)?;
    for reason in ["BaselineBroken", "ProbeBlind"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    Ok(())
}

#[test]
fn steps_wait_for_probes_and_go_by_them_also_those_of_other_experiments() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let _controller = controller(&scene, "a")?;
    let library = json!({ "params": { "page": "home" }, "probes": [{
        "name": "home", "http": { "url": format!("{}/$(page)", service.url()) }, "every": "1s", "during": "Record" }] });
    scene.experiment("baseline", library)?;
    scene.run("library", json!({ "experiment": "baseline" }))?;
    let refused = scene.await_end("library")?;
    assert!(refused.message.contains("has no steps: it is a library of probes"), "{refused:?}");

    let spec = json!({
        "probesFrom": [{ "experiment": "baseline" }],
        "steps": [
            { "name": "held", "check": { "probes": ["home"], "for": "2s" }, "timeout": "30s" },
            { "name": "never", "if": "!probes.home.ok || probes.home.errors > 0", "wait": { "for": "1h" } },
            { "name": "always", "if": "probes.home.value < 100.0 + probes.home.baseline", "wait": { "for": "1s" } },
        ],
    });
    scene.run("run", json!({ "inline": spec }))?;
    let status = scene.await_end("run")?;
    assert_eq!(
        (status.reason, status.hypothesis),
        (Some(Reason::Completed), Some(Hypothesis::Held)),
        "{status:#?}"
    );
    let phases: Vec<StepPhase> = status.steps.iter().map(|step| step.phase).collect();
    assert_eq!(phases, [StepPhase::Done, StepPhase::Skipped, StepPhase::Done]);
    assert!(service.asked("/home") >= 5, "{}", service.asked("/home"));
    Ok(())
}

#[test]
fn another_leader_goes_on_asking() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let first = controller(&scene, "first")?;
    await_holder(&scene, "first")?;
    let second = controller(&scene, "second")?;
    scene.run(
        "run",
        json!({ "inline": fault("5m", json!([probe(&service, "shop", json!({}))])) }),
    )?;
    let before = scene.await_run("run", |status| {
        status.targets.armed == 1 && status.probes[0].state == ProbeState::Pass
    })?;
    first.kill()?;
    await_holder(&scene, "second")?;
    let counted = before.probes[0].checks;
    let after = scene.await_run("run", |status| status.probes[0].checks > counted)?;
    assert_eq!(after.probes[0].baseline, before.probes[0].baseline);
    assert_eq!(scene.texts()?.len(), 1);
    service.set("/shop", Answer::of(500));
    scene.await_texts(0)?;
    service.heal();
    let status = scene.await_end("run")?;
    assert_eq!(status.hypothesis_reason, Some(HypothesisReason::ProbeBroke), "{status:#?}");
    let report = scene.report(&status)?;
    assert!(report.iter().any(|line| line["what"] == "LeaderChanged"), "{report:?}");
    second.kill().context("end the second")
}
