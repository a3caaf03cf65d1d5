//! What probes do to runs, from the steady state to the end.

use chaos_api::kinds::{
    Hypothesis, HypothesisReason, ProbeState, Reason, RunPhase, StepPhase, Verdict,
};
use chaos_probe::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{World, one_step};

fn probe(name: &str, fields: Value) -> Value {
    let mut probe = json!({ "name": name, "http": { "url": "http://web.shop" }, "every": "1s" });
    probe.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    probe
}

/// A fault on all pods for a minute, and one probe.
fn with_probe(fields: Value) -> Value {
    let mut spec = one_step("all", "1m");
    spec["probes"] = json!([probe("web", fields)]);
    spec
}

/// A run whose faults are in force, and have met something.
fn armed(spec: Value) -> World {
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.pass(6);
    assert_eq!((world.status("run").phase, world.held().len()), (RunPhase::Running, 2));
    for pod in world.held() {
        world.count(&pod, 100, 100);
    }
    world.pass(1);
    world
}

/// Whether the service holds again as soon as no pod is broken.
fn heal_when_free(world: &mut World) {
    for _ in 0..10 {
        if world.held().is_empty() {
            world.service.clear();
        }
        world.pass(1);
    }
}

fn result(world: &World) -> (Option<Reason>, Option<Verdict>, Option<HypothesisReason>) {
    let status = world.status("run");
    assert_eq!(status.phase, RunPhase::Finished, "{status:#?}");
    (status.reason, status.verdict, status.hypothesis_reason)
}

#[test]
fn nothing_is_broken_before_each_probe_was_asked_three_times() {
    let mut world = World::new(&[("a", 2)]);
    world.run("run", with_probe(json!({ "every": "10s" })));
    world.step();
    assert_eq!(world.status("run").phase, RunPhase::Baseline);
    world.pass(2);
    assert_eq!((world.questions.len(), world.writes), (2, 0));
    world.pass(2);
    let status = world.status("run");
    assert_eq!((status.phase, status.steps[0].phase), (RunPhase::Running, StepPhase::Running));
    let probe = &status.probes[0];
    assert_eq!((probe.checks, probe.baseline, probe.state), (3, Some(0.25), ProbeState::Pass));
    assert_eq!(world.condition("run", "SteadyBefore").unwrap().status, "True");
    world.pass(10);
    assert_eq!(world.held().len(), 2);
    assert_eq!(world.questions.last().unwrap(), &("web".to_owned(), Some(0.25)));
}

#[test]
fn a_broken_baseline_arms_nothing() {
    for (outcome, word) in [(Outcome::Fail, "does not hold"), (Outcome::Error, "no answer")] {
        let mut world = World::new(&[("a", 2)]);
        world.service.insert("web".into(), outcome);
        world.run("run", with_probe(json!({})));
        world.pass(8);
        let expected = (
            Some(Reason::BaselineBroken),
            Some(Verdict::Inconclusive),
            Some(HypothesisReason::BaselineBroken),
        );
        assert_eq!(result(&world), expected);
        let status = world.status("run");
        assert!(status.message.contains(word), "{}", status.message);
        assert_eq!((status.hypothesis, world.writes), (Some(Hypothesis::Unknown), 0));
        assert!(world.happened("run").contains(&"BaselineBroken".to_owned()));
    }
}

#[test]
fn a_probe_that_breaks_ends_the_run_in_the_same_look_and_its_recovery_is_watched() {
    let mut world = armed(with_probe(json!({ "tolerate": 1 })));
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(2);
    assert_eq!(world.held().len(), 2, "one failure is forgiven");
    world.pass(1);
    // The status says it before anything is taken away.
    let status = world.status("run");
    assert_eq!((status.phase, status.reason), (RunPhase::Running, Some(Reason::ProbeBroke)));
    assert_eq!(status.message, "probe web has failed more than 1 times in a row: 500, 2s");
    assert!(world.held().is_empty());
    heal_when_free(&mut world);
    let expected =
        (Some(Reason::ProbeBroke), Some(Verdict::Confirmed), Some(HypothesisReason::ProbeBroke));
    assert_eq!(result(&world), expected);
    assert_eq!(world.status("run").hypothesis, Some(Hypothesis::Deviated));
    assert_eq!(world.condition("run", "Recovered").unwrap().status, "True");
    let happened = world.happened("run");
    let expected = [
        "Baseline",
        "Steady",
        "StepStarted",
        "ProbeBroke",
        "Recovering",
        "StepFailed",
        "Recovered",
        "Halted",
    ];
    assert_eq!(happened, expected);
    assert!(world.sampled("run") >= 8);
}

#[test]
fn a_decision_is_carried_out_by_another_leader_that_has_not_seen_the_failures() {
    let mut world = armed(with_probe(json!({})));
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(1);
    let actions = world.look();
    assert_eq!((actions.decisions.len(), actions.clear.len()), (1, 2));
    // The leader dies between the status and the annotations.
    world.apply_statuses(actions);
    world.forget();
    world.service.clear();
    world.pass(4);
    assert!(world.held().is_empty());
    let expected =
        (Some(Reason::ProbeBroke), Some(Verdict::Confirmed), Some(HypothesisReason::ProbeBroke));
    assert_eq!(result(&world), expected);
}

#[test]
fn another_leader_goes_on_with_the_counts() {
    let mut world = armed(with_probe(json!({ "tolerate": 3 })));
    let before = world.status("run").probes[0].clone();
    world.forget();
    world.pass(3);
    let after = world.status("run").probes[0].clone();
    assert_eq!((after.baseline, after.since), (before.baseline, before.since));
    assert!(after.checks > before.checks && after.checks <= before.checks + 3);
}

#[test]
fn a_probe_that_is_blind_ends_the_run_and_nobody_knows() {
    let mut world = armed(with_probe(json!({})));
    world.service.insert("web".into(), Outcome::Error);
    world.pass(3);
    assert_eq!(world.held().len(), 2);
    world.pass(1);
    assert!(world.held().is_empty());
    heal_when_free(&mut world);
    let expected =
        (Some(Reason::ProbeBlind), Some(Verdict::Confirmed), Some(HypothesisReason::ProbeBlind));
    assert_eq!(result(&world), expected);
}

#[test]
fn what_is_recorded_ends_no_run_and_must_hold_again() {
    for (heals, reason) in
        [(true, HypothesisReason::AllHeld), (false, HypothesisReason::NotRecovered)]
    {
        let mut world = armed(with_probe(json!({ "during": "Record", "recover": "5s" })));
        world.service.insert("web".into(), Outcome::Fail);
        world.pass(40);
        assert_eq!(world.held().len(), 2);
        if heals {
            world.pass(12);
            world.service.clear();
        }
        world.pass(40);
        assert_eq!(
            result(&world),
            (Some(Reason::Completed), Some(Verdict::Confirmed), Some(reason))
        );
    }
}

#[test]
fn what_must_break_has_to() {
    for (breaks, reason) in
        [(true, HypothesisReason::AllHeld), (false, HypothesisReason::NeverBroke)]
    {
        let mut world = armed(with_probe(json!({ "during": "MustBreak" })));
        if breaks {
            world.service.insert("web".into(), Outcome::Fail);
        }
        world.pass(30);
        world.service.clear();
        world.pass(50);
        assert_eq!(
            result(&world),
            (Some(Reason::Completed), Some(Verdict::Confirmed), Some(reason))
        );
    }
}

#[test]
fn a_hand_ends_a_run_at_once() {
    let mut world = armed(with_probe(json!({})));
    world.halt("run");
    world.pass(2);
    let expected = (Some(Reason::Halted), Some(Verdict::Confirmed), Some(HypothesisReason::Cut));
    assert_eq!(result(&world), expected);
    let asked = world.questions.len();
    world.pass(5);
    assert_eq!(world.questions.len(), asked);
}

#[test]
fn a_hand_ends_the_recovery_and_what_broke_stays_the_reason() {
    let mut world = armed(with_probe(json!({})));
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(4);
    assert_eq!(world.status("run").phase, RunPhase::Recovering);
    world.halt("run");
    world.pass(1);
    let expected =
        (Some(Reason::ProbeBroke), Some(Verdict::Confirmed), Some(HypothesisReason::ProbeBroke));
    assert_eq!(result(&world), expected);
}

#[test]
fn ledgers_are_judged_when_the_last_step_has_ended() {
    for (least, reason) in [(200, HypothesisReason::AllHeld), (201, HypothesisReason::ProbeBroke)] {
        let mut spec = one_step("all", "20s");
        let hit = json!({ "name": "hit", "ledger": { "step": "slow" }, "expect": format!("injected >= {least}") });
        spec["probes"] = json!([hit]);
        let mut world = World::new(&[("a", 2)]);
        world.run("run", spec);
        world.settle();
        for pod in world.held() {
            world.count(&pod, 100, 100);
        }
        assert_eq!(world.status("run").probes[0].state, ProbeState::Unasked);
        world.pass(35);
        assert_eq!(
            result(&world),
            (Some(Reason::Completed), Some(Verdict::Confirmed), Some(reason))
        );
    }
}

#[test]
fn a_plan_asks_each_probe_once_and_says_what_it_has_seen() {
    let mut world = World::new(&[("a", 2)]);
    world.service.insert("web".into(), Outcome::Fail);
    let mut spec = with_probe(json!({}));
    spec["probes"] = json!([probe("web", json!({})), probe("slow", json!({}))]);
    world.silent.insert("slow".into());
    world.run_in_mode("run", spec, "Plan");
    world.pass(10);
    assert_eq!((world.status("run").phase, world.questions.len()), (RunPhase::Baseline, 1));
    world.silent.clear();
    world.pass(2);
    let status = world.status("run");
    assert_eq!((status.reason, world.questions.len()), (Some(Reason::Planned), 2));
    assert!(
        status.message.contains("; probe web does not hold (500, 2s); probe slow holds"),
        "{}",
        status.message
    );
    assert_eq!(status.hypothesis_reason, Some(HypothesisReason::NothingDone));
    assert_eq!(world.writes, 0);
}

#[test]
fn a_probe_that_is_never_answered_is_noticed() {
    // Before anything is broken: 2 minutes, and three times its timeout.
    for mode in ["Armed", "Plan"] {
        let mut world = World::new(&[("a", 2)]);
        world.silent.insert("web".into());
        world.run_in_mode("run", with_probe(json!({})), mode);
        world.pass(134);
        assert_eq!(world.status("run").phase, RunPhase::Baseline);
        world.pass(4);
        let status = world.status("run");
        assert_eq!((status.reason, world.writes), (Some(Reason::BaselineBroken), 0));
        assert!(status.message.contains("probe web had no answer"), "{}", status.message);
    }
    // While pods are broken: three times 1s, its timeout of 5s, and 5s.
    let mut world = armed(with_probe(json!({})));
    world.silent.insert("web".into());
    world.pass(10);
    assert_eq!(world.held().len(), 2);
    world.pass(6);
    assert!(world.held().is_empty());
    let status = world.status("run");
    assert_eq!((status.phase, status.reason), (RunPhase::Recovering, Some(Reason::ProbeBlind)));
}

#[test]
fn nobody_knows_whether_it_held_where_nothing_was_seen_while_pods_were_broken() {
    let mut spec = with_probe(json!({ "every": "10m" }));
    spec["steps"][0]["fault"]["for"] = json!("30s");
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.settle();
    world.pass(4);
    assert_eq!(world.status("run").phase, RunPhase::Running);
    world.pass(60);
    let expected =
        (Some(Reason::Completed), Some(Verdict::Inconclusive), Some(HypothesisReason::ProbeErrors));
    assert_eq!(result(&world), expected);
}

#[test]
fn a_ledger_without_data_is_no_pass() {
    let mut spec = one_step("all", "20s");
    let none = json!({ "name": "none", "ledger": { "step": "more" }, "expect": "lost == 0" });
    spec["probes"] = json!([none, probe("web", json!({}))]);
    let mut more = spec["steps"][0].clone();
    (more["name"], more["if"]) = (json!("more"), json!("!probes.web.ok"));
    spec["steps"] = json!([spec["steps"][0], more]);
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.pass(60);
    let (_, _, hypothesis) = result(&world);
    assert_eq!(hypothesis, Some(HypothesisReason::ProbeErrors));
    let ledger = world.status("run").probes[0].clone();
    assert_eq!((ledger.state, ledger.checks), (ProbeState::Error, 1));
}

#[test]
fn a_ledger_is_judged_once_also_where_the_status_is_not_written() {
    let mut spec = one_step("all", "20s");
    spec["probes"] = json!([{ "name": "hit", "ledger": {}, "expect": "injected >= 0" }]);
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.settle();
    world.pass(20);
    world.now += jiff::SignedDuration::from_secs(15);
    // Two looks without a write, as if the API server was not there.
    world.look();
    world.look();
    world.pass(5);
    assert_eq!(world.status("run").probes[0].checks, 1);
}

#[test]
fn hours_that_end_while_probes_must_hold_again_change_no_result() {
    let mut spec = with_probe(json!({}));
    spec["steps"][0]["fault"]["for"] = json!("20s");
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.pass(10);
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(4);
    assert_eq!(world.status("run").phase, RunPhase::Recovering);
    let hours = crate::names::HOURS;
    world.annotations.insert(hours.into(), "Mon 00-01 Europe/Berlin".into());
    world.pass(3);
    assert_eq!(world.status("run").phase, RunPhase::Recovering);
    world.service.clear();
    world.pass(3);
    assert_eq!(result(&world).0, Some(Reason::ProbeBroke));
}

#[test]
fn what_is_judged_at_the_end_is_no_condition_of_a_step() {
    for (step, field) in [
        (json!({ "name": "c", "check": { "probes": ["hit"], "for": "2s" } }), "check"),
        (json!({ "name": "c", "wait": { "for": "2s" }, "if": "probes.hit.ok" }), "if"),
    ] {
        let mut spec = one_step("all", "20s");
        spec["probes"] = json!([{ "name": "hit", "ledger": {}, "expect": "injected > 0" }]);
        spec["steps"] = json!([spec["steps"][0], step]);
        let mut world = World::new(&[("a", 2)]);
        world.run("run", spec);
        world.pass(2);
        assert_eq!(result(&world).0, Some(Reason::Refused));
        let message = world.status("run").message;
        assert!(message.contains(&format!("step c: {field}: hit is a ledger")), "{message}");
    }
}

#[test]
fn a_check_waits_until_probes_have_held_for_some_time() {
    let mut spec = with_probe(json!({ "during": "Record" }));
    let check =
        json!({ "name": "healed", "check": { "probes": ["web"], "for": "10s" }, "timeout": "30s" });
    spec["steps"] = json!([{ "name": "rest", "wait": { "for": "2s" } }, check]);
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec.clone());
    world.pass(10);
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(3);
    world.service.clear();
    world.pass(10);
    let phase = |world: &World| world.status("run").steps[1].phase;
    assert_eq!(phase(&world), StepPhase::Running);
    world.pass(5);
    assert_eq!((phase(&world), result(&world).0), (StepPhase::Done, Some(Reason::Completed)));

    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.pass(7);
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(35);
    assert_eq!(result(&world).0, Some(Reason::StepFailed));
    let message = world.status("run").message;
    assert!(message.contains("web did not hold for 10s within 30s"), "{message}");
}

#[test]
fn a_step_is_skipped_where_its_condition_does_not_hold_and_fails_where_there_is_none() {
    for (condition, on_error, phase, reason) in [
        ("probes.web.ok", "Halt", StepPhase::Done, Reason::Completed),
        ("!probes.web.ok", "Halt", StepPhase::Skipped, Reason::Completed),
        ("probes['d' + 'b'].ok", "Halt", StepPhase::Failed, Reason::StepFailed),
        ("probes['d' + 'b'].ok", "Continue", StepPhase::Failed, Reason::Completed),
    ] {
        let mut spec = with_probe(json!({}));
        let step = json!({ "name": "rest", "wait": { "for": "1s" }, "if": condition, "onError": on_error });
        spec["steps"] = json!([step, { "name": "last", "wait": { "for": "1s" } }]);
        let mut world = World::new(&[("a", 2)]);
        world.run("run", spec);
        world.pass(15);
        assert_eq!(result(&world).0, Some(reason), "{condition}");
        assert_eq!(world.status("run").steps[0].phase, phase, "{condition}");
    }
}

#[test]
fn probes_of_other_experiments_are_in_the_copy() {
    let library = json!({ "params": { "host": "web" }, "probes": [probe("home", json!({ "http": { "url": "http://$(host)" } }))] });
    let mut spec = with_probe(json!({}));
    spec["probesFrom"] = json!([{ "experiment": "baseline" }]);
    spec["steps"][0] = json!({ "name": "c", "check": { "probes": ["home"], "for": "2s" } });
    let mut world = World::new(&[("a", 2)]);
    world.experiment("baseline", library.clone());
    world.run("run", spec.clone());
    world.pass(20);
    assert_eq!(result(&world).0, Some(Reason::Completed));
    let status = world.status("run");
    let names: Vec<&str> = status.probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(names, ["web", "home"]);

    // One that has no steps is not run, and no two probes have the same name.
    world.run_of("library", "baseline");
    spec["probes"][0]["name"] = json!("home");
    world.run("clash", spec);
    world.pass(1);
    for (run, expected) in [("library", "has no steps"), ("clash", "there is another of this name")]
    {
        let status = world.status(run);
        assert_eq!(status.reason, Some(Reason::Refused));
        assert!(status.message.contains(expected), "{}", status.message);
    }
}

/// What a probe answers in one second, and whether another controller leads after that.
fn second() -> impl Strategy<Value = (Outcome, bool)> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Pass),
        2 => Just(Outcome::Fail),
        1 => Just(Outcome::Error),
    ];
    (outcome, prop::bool::weighted(0.1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_probes_answer_nothing_is_broken_outside_of_running_and_the_result_is_honest(
        seconds in prop::collection::vec(second(), 1..50),
        during in prop_oneof![Just("Halt"), Just("Record"), Just("MustBreak")],
        tolerate in 0_u32..3,
    ) {
        let mut spec = one_step("all", "20s");
        spec["probes"] = json!([probe("web", json!({ "during": during, "tolerate": tolerate }))]);
        let mut world = World::new(&[("a", 2)]);
        world.run("run", spec);
        let mut was_decided = None;
        for (outcome, is_killed) in seconds {
            world.service.insert("web".into(), outcome);
            world.pass(1);
            let status = world.status("run");
            prop_assert!(world.broken().is_empty() || status.phase == RunPhase::Running, "{status:#?}");
            // What was decided stays, whoever leads.
            prop_assert!(was_decided.is_none() || status.reason == was_decided, "{status:#?}");
            was_decided = status.reason;
            prop_assert!(was_decided.is_none() || world.broken().is_empty(), "{status:#?}");
            if is_killed {
                world.forget();
            }
        }
        world.service.clear();
        world.pass(120);
        let status = world.status("run");
        prop_assert_eq!(status.phase, RunPhase::Finished);
        prop_assert!(world.held().is_empty());
        let seen = &status.probes[0];
        let (broke, hypothesis) = (seen.broke > 0, status.hypothesis.unwrap());
        match during {
            "Halt" => prop_assert_eq!(broke, hypothesis == Hypothesis::Deviated, "{:#?}", status),
            "MustBreak" => prop_assert!(broke || hypothesis != Hypothesis::Held, "{status:#?}"),
            _ => prop_assert!(hypothesis != Hypothesis::Held || seen.recovered, "{status:#?}"),
        }
        if hypothesis == Hypothesis::Held && during != "MustBreak" {
            prop_assert_eq!(seen.errors, 0);
        }
    }
}
