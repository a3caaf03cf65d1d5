//! What PodDisruptionBudgets and the annotations of a namespace allow at most, and which finished runs are kept.

use chaos_api::kinds::{Reason, RunPhase};
use serde_json::json;

use super::world::{World, one_step};
use crate::names::{HOURS, MAX_DURATION, MAX_SHARE};

#[test]
fn broken_pods_count_against_their_budgets() {
    let mut world = World::new(&[("a", 4)]);
    world.min_available = Some(2);
    world.run("three", one_step("3", "1m"));
    world.settle();
    let refused = world.status("three");
    assert_eq!((refused.reason, world.writes), (Some(Reason::Refused), 0));
    let expected = "target web: PodDisruptionBudget web allows no more disruptions; \
                    `limits.disruptionBudgets: Ignore` goes beyond";
    assert!(refused.message.contains(expected), "{}", refused.message);

    world.run("two", one_step("2", "5m"));
    world.settle();
    let held = world.held();
    assert_eq!(held.len(), 2);
    // What one run has broken, the next one may not add to.
    world.run("one", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.status("one").reason, Some(Reason::Refused));
    // What is broken and not ready is in the budget's status already; what was picked, stays.
    world.set_ready(&held[0], false);
    world.settle();
    assert_eq!(world.held(), held);
    world.run("another", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.status("another").reason, Some(Reason::Refused));
    let mut ignoring = one_step("1", "1m");
    ignoring["limits"] = json!({ "disruptionBudgets": "Ignore" });
    world.run("ignoring", ignoring);
    world.settle();
    assert_eq!(world.held().len(), 3);
}

#[test]
fn two_runs_that_begin_together_share_a_budget() {
    let mut world = World::new(&[("a", 4)]);
    world.min_available = Some(3);
    world.run("first", one_step("1", "1m"));
    world.run("second", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.held().len(), 1);
    world.pass(40);
    let reason = |run: &str| world.status(run).reason;
    assert_eq!((reason("first"), reason("second")), (None, Some(Reason::Refused)));
}

#[test]
fn a_namespace_says_which_share_may_be_broken() {
    let mut world = World::new(&[("a", 10)]);
    world.annotations.insert(MAX_SHARE.into(), "30%".into());
    world.run("half", one_step("50%", "1m"));
    world.settle();
    let expected =
        "step slow: target web: namespace shop: chaos-agent.dev/max-share: 30% of 10 pods are 3";
    assert!(world.status("half").message.contains(expected), "{}", world.status("half").message);
    world.run("two", one_step("2", "5m"));
    world.settle();
    // All runs together.
    world.run("more", one_step("2", "5m"));
    world.settle();
    assert_eq!((world.held().len(), world.status("more").reason), (2, Some(Reason::Refused)));
    world.run("one", one_step("1", "5m"));
    world.settle();
    assert_eq!(world.held().len(), 3);
    // Fewer are left of which it is a share.
    let held = world.held();
    for pod in world.names().into_iter().filter(|pod| !held.contains(pod)).take(5) {
        world.relabel(&pod, "db");
    }
    world.settle();
    assert_eq!(world.held().len(), 1);
}

#[test]
fn a_namespace_says_how_long_and_when() {
    let mut world = World::new(&[("a", 2)]);
    world.annotations.insert(MAX_DURATION.into(), "2m".into());
    world.run("long", one_step("1", "3m"));
    world.settle();
    let expected =
        "namespace shop: chaos-agent.dev/max-duration: the steps take 3m, and 2m are allowed";
    assert_eq!(world.status("long").message, expected);

    // 2026-11-28 is a Saturday, and it is 11 o'clock in Berlin.
    world.annotations.insert(HOURS.into(), "Sat 09-12 Europe/Berlin".into());
    world.run("short", one_step("1", "2m"));
    world.settle();
    assert_eq!(world.held().len(), 1);
    world.annotations.insert(HOURS.into(), "Mon-Fri 09-16 Europe/Berlin".into());
    world.settle();
    assert!(world.held().is_empty());
    let status = world.status("short");
    let expected = "namespace shop: chaos-agent.dev/hours: faults are allowed at \
                    Mon-Fri 09-16 Europe/Berlin only";
    assert_eq!((status.reason, status.message.as_str()), (Some(Reason::Halted), expected));
    world.run("late", one_step("1", "1m"));
    world.run_in_mode("plan", one_step("1", "1m"), "Plan");
    world.settle();
    let refused = world.status("late");
    assert_eq!((refused.reason, refused.message.as_str()), (Some(Reason::Refused), expected));
    // What touches nothing may be asked at any time.
    assert_eq!(world.status("plan").reason, Some(Reason::Planned));
}

#[test]
fn a_ceiling_that_cannot_be_read_allows_nothing() {
    for (annotation, text) in [(MAX_SHARE, "a third"), (MAX_DURATION, ""), (HOURS, "always")] {
        let mut world = World::new(&[("a", 2)]);
        world.run("before", one_step("1", "1m"));
        world.settle();
        assert_eq!(world.held().len(), 1);
        world.annotations.insert(annotation.into(), text.into());
        world.settle();
        world.run("after", one_step("1", "1m"));
        world.settle();
        assert!(world.held().is_empty());
        for (run, reason) in [("before", Reason::Halted), ("after", Reason::Refused)] {
            let status = world.status(run);
            assert_eq!(status.reason, Some(reason));
            let expected =
                format!("namespace shop: annotation {annotation} cannot be read:\n{text}\n");
            assert!(status.message.starts_with(&expected), "{}", status.message);
        }
    }
}

#[test]
fn old_finished_runs_are_deleted_and_live_ones_never() {
    let mut world = World::new(&[("a", 3)]);
    let mut spec = one_step("9", "1m");
    spec["keep"] = json!({ "finished": 2 });
    world.experiment("refused", spec);
    world.run("live", one_step("1", "1h"));
    for number in 0..5 {
        world.run_of(&format!("of-{number}"), "refused");
        world.pass(1);
    }
    world.settle();
    assert_eq!(world.run_names(), ["live", "of-3", "of-4"]);
    for number in 0..32 {
        world.run(&format!("own-{number:02}"), one_step("9", "1m"));
        world.pass(1);
    }
    world.settle();
    let names = world.run_names();
    assert_eq!((names.len(), names[3].as_str()), (33, "own-02"));
    assert_eq!(world.status("live").phase, RunPhase::Running);
    // Without its experiment, a run is one of those that have none.
    world.delete_experiment("refused");
    world.settle();
    let names = world.run_names();
    assert_eq!((names.len(), names[1].as_str()), (31, "own-02"));
}
