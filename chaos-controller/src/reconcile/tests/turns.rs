//! Looks that have no time for all runs: they go round, and whoever must not wait comes first.

use std::collections::BTreeSet;

use chaos_api::kinds::{Reason, RunPhase};
use chaos_probe::Outcome;
use serde_json::{Value, json};

use super::world::{World, one_step};

const RUNS: usize = 40;

/// With one turn that each look has, and one of those that must not wait.
const TURNS: usize = 4;

fn name(number: usize) -> String {
    format!("run-{number:02}")
}

fn probe(name: &str) -> Value {
    json!({ "name": name, "http": { "url": "http://web.shop" }, "every": "1s" })
}

/// As many runs as there are pods, each with one of them and a probe, and looks with time for few.
fn crowd() -> World {
    crowd_with(|_| probe("web"))
}

/// The same, with a probe for each.
fn crowd_with(probe: impl Fn(usize) -> Value) -> World {
    let mut world = World::new(&[("a", RUNS)]);
    for number in 0..RUNS {
        let mut spec = one_step("1", "20m");
        spec["probes"] = json!([probe(number)]);
        world.run(&name(number), spec);
    }
    world.pass(8);
    assert_eq!(world.held().len(), RUNS);
    world.turns = TURNS;
    world
}

#[test]
fn every_run_has_its_turn() {
    let mut world = World::new(&[("a", RUNS)]);
    world.turns = TURNS;
    for number in 0..RUNS {
        world.run(&name(number), one_step("1", "20m"));
    }
    // A turn begins a run, the next one writes its text.
    let round = RUNS / (TURNS + 1);
    for looks in 1..=2 * round {
        world.step();
        let begun = (0..RUNS).filter(|number| !world.has_no_status(&name(*number))).count();
        assert!(begun >= RUNS.min(looks * (TURNS + 1)), "{begun} after {looks}");
    }
    world.settle();
    // No two of them want the same pod, also where one has begun long before the other.
    assert_eq!(world.held().len(), RUNS);
    assert!(world.look().is_cut);
    world.turns = usize::MAX;
    assert!(!world.look().is_cut);
}

#[test]
fn a_halt_comes_first_and_takes_nothing_from_runs_that_wait() {
    let mut world = crowd();
    let (held, asked) = (world.held(), world.look().ask.len());
    assert_eq!(asked, RUNS);
    let last = name(RUNS - 1);
    world.halt(&last);
    let actions = world.look();
    assert_eq!((actions.clear.len(), actions.write.len()), (1, 0));
    assert_eq!(actions.ending.into_iter().collect::<Vec<_>>(), [format!("shop/{last}")]);
    assert!(actions.is_cut && actions.ask.len() >= RUNS - 1);
    world.step();
    world.step();
    assert_eq!(world.status(&last).reason, Some(Reason::Halted));
    let left: BTreeSet<String> = world.held().into_iter().collect();
    assert_eq!(left.len(), RUNS - 1);
    assert!(left.iter().all(|pod| held.contains(pod)));
}

#[test]
fn runs_that_are_deleted_and_times_that_are_up_come_first() {
    let mut world = crowd();
    world.delete_run(&name(RUNS - 1));
    let actions = world.look();
    assert_eq!(actions.clear.len(), 1);
    world.step();

    let mut short = one_step("1", "5s");
    short["probes"] = json!([]);
    world.turns = usize::MAX;
    world.run("short", short);
    world.settle();
    world.turns = 0;
    world.pass(7);
    let status = world.status("short");
    assert_eq!((status.phase, status.reason), (RunPhase::Finished, Some(Reason::Completed)));
}

#[test]
fn what_probes_answer_is_counted_when_its_run_has_its_turn_and_failures_come_first() {
    let mut world = crowd();
    let checks = |world: &World| -> Vec<u32> {
        (0..RUNS).map(|number| world.status(&name(number)).probes[0].checks).collect()
    };
    let before = checks(&world);
    let round = RUNS.div_ceil(TURNS + 1);
    world.pass(u32::try_from(round).unwrap());
    world.turns = usize::MAX;
    world.step();
    let gained = checks(&world).iter().zip(&before).map(|(now, before)| now - before).min();
    assert!(gained >= Some(u32::try_from(round).unwrap()), "{gained:?} in {round} s");

    // All of them fail at once: each look decides about as many as it can, and about no run twice.
    world.turns = TURNS;
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(1);
    for looks in 1..=round {
        world.step();
        let decided = |number: &usize| world.status(&name(*number)).reason.is_some();
        let decided = (0..RUNS).filter(decided).count();
        assert!(decided >= RUNS.min(looks * TURNS), "{decided} after {looks}");
    }
}

#[test]
fn a_halt_does_not_wait_for_runs_of_others_whose_probes_fail() {
    let mut forgiving = probe("web");
    forgiving["tolerate"] = json!(60);
    let mut world = crowd_with(|_| forgiving.clone());
    world.service.insert("web".into(), Outcome::Fail);
    world.pass(2);
    // A look has time for an eighth of them, so not all of these would be next.
    for number in (0..RUNS).step_by(RUNS / 5) {
        world.halt(&name(number));
        let ending = world.look().ending;
        assert!(ending.contains(&format!("shop/{}", name(number))), "{number}: {ending:?}");
        world.pass(1);
    }
}

#[test]
fn failures_that_end_no_run_take_no_turns_from_others() {
    const FAILING: usize = RUNS - 15;
    for during in ["Record", "MustBreak"] {
        let mut failing = probe("failing");
        failing["during"] = json!(during);
        let of_run = |number| if number < FAILING { failing.clone() } else { probe("web") };
        let mut world = crowd_with(of_run);
        let checks = |world: &World| -> Vec<u32> {
            (FAILING..RUNS).map(|number| world.status(&name(number)).probes[0].checks).collect()
        };
        world.service.insert("failing".into(), Outcome::Fail);
        world.pass(1);
        let before = checks(&world);
        world.pass(u32::try_from(RUNS / (TURNS + 1)).unwrap() + 1);
        let after = checks(&world);
        let had_turns = before.iter().zip(&after).all(|(before, after)| after > before);
        assert!(had_turns, "{during}: {before:?}, {after:?}");
    }
}

#[test]
fn experiments_are_judged_again_when_they_have_changed() {
    let mut world = World::new(&[]);
    world.turns = 0;
    for number in 0..3 {
        world.experiment(&format!("good-{number}"), one_step("1", "1m"));
    }
    world.settle();
    let accepted = |world: &World, name: &str| world.experiment_condition(name).unwrap().status;
    assert!((0..3).all(|number| accepted(&world, &format!("good-{number}")) == "True"));
    assert!(world.look().experiments.is_empty());
    let mut spec = one_step("1", "1m");
    spec["steps"][0]["fault"]["do"] = json!("drip egress");
    world.experiment("good-1", spec);
    world.settle();
    assert_eq!(accepted(&world, "good-1"), "False");
}
