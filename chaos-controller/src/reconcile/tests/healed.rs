//! What agents have counted last is in the verdict and in the report of a run that is ended before its time.

use chaos_api::kinds::{Reason, RunPhase, StepPhase, Verdict};
use chaos_probe::Outcome;
use serde_json::json;

use super::world::{World, one_step};
use crate::report::State;

/// A run with two pods, of which agents say nothing new.
fn silent() -> World {
    let mut world = World::new(&[("a", 2)]);
    world.run("run", one_step("all", "5m"));
    world.settle();
    for pod in world.held() {
        world.count(&pod, 10, 4);
    }
    world.settle();
    world.answers = false;
    world
}

fn healed(world: &World) -> (String, String, String) {
    let condition = world.condition("run", "Healed").unwrap();
    (condition.status, condition.reason, condition.message)
}

#[test]
fn a_halted_run_waits_for_the_last_counts_and_judges_and_reports_them() {
    let mut world = silent();
    let pods = world.held();
    world.halt("run");
    world.settle();
    // Nothing is asked of the pods any more, and agents have not said so.
    assert!(world.held().is_empty() && world.look().ending.is_empty());
    let status = world.status("run");
    assert_eq!((status.phase, status.reason), (RunPhase::Running, Some(Reason::Halted)));
    let (is, reason, message) = healed(&world);
    assert_eq!((is.as_str(), reason.as_str()), ("False", "Waiting"));
    assert_eq!(message, "waiting for the last counts of 2 pods");

    for pod in &pods {
        world.count(pod, 500, 200);
    }
    world.answers = true;
    world.answer();
    world.settle();
    let status = world.status("run");
    assert_eq!((status.phase, status.message.as_str()), (RunPhase::Finished, "it was halted"));
    assert_eq!((status.ledger.matched, status.ledger.injected), (1_000, 400));
    assert_eq!(
        (status.verdict, status.steps[0].phase),
        (Some(Verdict::Confirmed), StepPhase::Failed)
    );
    assert_eq!(healed(&world).0, "True");
    let line = |pod: &String| (pod.clone(), "slow".to_owned(), State::Ended, 200);
    assert_eq!(world.report("run"), pods.iter().map(line).collect::<Vec<_>>());
}

#[test]
fn agents_that_say_nothing_are_waited_for_ten_seconds() {
    let mut world = silent();
    world.halt("run");
    world.settle();
    world.pass(9);
    assert_eq!(world.status("run").phase, RunPhase::Running);
    // Another leader waits no longer than this one would have.
    world.forget();
    world.pass(1);
    let status = world.status("run");
    assert_eq!((status.phase, status.ledger.injected), (RunPhase::Finished, 8));
    let (is, reason, message) = healed(&world);
    assert_eq!((is.as_str(), reason.as_str()), ("False", "Silent"));
    assert_eq!(message, "the last counts of 2 pods are not known");
}

#[test]
fn nothing_is_put_back_when_the_cause_of_a_halt_is_over_before_the_wait_is() {
    let mut world = silent();
    world.lever = Some("INC-4711".to_owned());
    world.settle();
    assert_eq!(world.status("run").phase, RunPhase::Running);
    world.lever = None;
    world.settle();
    assert!(world.held().is_empty());
    world.answers = true;
    world.answer();
    world.settle();
    let status = world.status("run");
    assert_eq!(status.reason, Some(Reason::Halted));
    assert_eq!(status.message, "the cluster is halted: INC-4711");
}

#[test]
fn what_a_probe_ends_is_watched_from_when_nothing_is_armed_any_more() {
    let mut spec = one_step("all", "5m");
    let web = json!({ "name": "web", "http": { "url": "http://web.shop" }, "every": "1s" });
    spec["probes"] = json!([web]);
    let mut world = World::new(&[("a", 2)]);
    world.run("run", spec);
    world.pass(6);
    assert_eq!(world.held().len(), 2);
    world.answers = false;
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(3);
    let status = world.status("run");
    assert_eq!((status.phase, status.reason), (RunPhase::Running, Some(Reason::ProbeBroke)));
    assert!(world.held().is_empty());
    assert_eq!(healed(&world).1, "Waiting");
    world.answers = true;
    world.answer();
    world.step();
    assert_eq!(world.status("run").phase, RunPhase::Recovering);
    assert_eq!(healed(&world).0, "True");
}

#[test]
fn a_run_that_ends_by_itself_says_that_its_pods_are_healed() {
    let mut world = World::new(&[("a", 1)]);
    world.run("run", one_step("1", "10s"));
    world.run_in_mode("plan", one_step("1", "10s"), "Plan");
    world.settle();
    world.pass(12);
    assert_eq!(world.status("run").reason, Some(Reason::Completed));
    assert_eq!(healed(&world).1, "Counted");
    assert_eq!(world.condition("plan", "Healed"), None);
}
