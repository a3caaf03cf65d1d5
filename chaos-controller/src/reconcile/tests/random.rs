//! Interleaves whatever may happen at random, and checks after each step that no promise is broken.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::json;

use super::world::{Agent, World, one_step};
use crate::names::MAX_SHARE;

/// What may happen.
#[derive(Debug, Clone)]
enum Happening {
    Added(usize),
    Removed(usize),
    Ready(usize, bool),
    Relabelled(usize, bool),
    Annotated(usize, bool),
    AgentIs(usize, bool),
    Passed(u32),
    /// Only so many of the annotations are written, and then another controller leads.
    Killed(usize),
    Halted,
    /// A second run, which deletes pods.
    Deleting,
    Worked,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => (0_usize..3).prop_map(Happening::Added),
        2 => (0_usize..30).prop_map(Happening::Removed),
        2 => (0_usize..30, any::<bool>()).prop_map(|(pod, is)| Happening::Ready(pod, is)),
        1 => (0_usize..30, any::<bool>()).prop_map(|(pod, is)| Happening::Relabelled(pod, is)),
        1 => (0_usize..30, any::<bool>()).prop_map(|(pod, is)| Happening::Annotated(pod, is)),
        1 => (0_usize..3, any::<bool>()).prop_map(|(node, is)| Happening::AgentIs(node, is)),
        2 => (1_u32..20).prop_map(Happening::Passed),
        2 => (0_usize..4).prop_map(Happening::Killed),
        1 => Just(Happening::Halted),
        1 => Just(Happening::Deleting),
        6 => Just(Happening::Worked),
    ]
}

const NODES: [&str; 3] = ["a", "b", "c"];

fn happen(world: &mut World, happening: &Happening, made: &mut usize) {
    let pod = |world: &World, index: usize| {
        let names = world.names();
        names.get(index % names.len().max(1)).cloned().unwrap_or_default()
    };
    match happening {
        Happening::Added(node) => {
            *made += 1;
            world.add(&format!("new-{made}"), NODES[*node]);
        }
        Happening::Removed(index) => world.remove(&pod(world, *index)),
        Happening::Ready(index, is) => world.set_ready(&pod(world, *index), *is),
        Happening::Relabelled(index, is) => {
            world.relabel(&pod(world, *index), if *is { "web" } else { "db" });
        }
        Happening::Annotated(index, is) => {
            world.annotate(&pod(world, *index), if *is { "corrupt" } else { "" });
        }
        Happening::AgentIs(node, is) => {
            world.agent(NODES[*node], if *is { Agent::Fit } else { Agent::Silent });
        }
        Happening::Passed(seconds) => world.pass(*seconds),
        Happening::Killed(writes) => {
            let actions = world.look();
            let all = actions.clear.iter().chain(&actions.write);
            for write in all.take(*writes) {
                world.write(write);
            }
            for removal in actions.remove.iter().take(*writes) {
                world.remove_by(removal);
            }
            world.forget();
        }
        Happening::Halted => world.halt("run"),
        Happening::Deleting => {
            if !world.run_names().contains(&"deleting".to_owned()) {
                world.run("deleting", deleting());
            }
        }
        Happening::Worked => world.step(),
    }
}

/// A step that deletes a third of the pods, whatever becomes of the first run.
fn deleting() -> serde_json::Value {
    let mut spec = one_step("40%", "1m");
    spec["steps"] = json!([{ "name": "kill", "pods": { "target": "web", "action": "Delete" } }]);
    spec
}

/// How many pods a step picked, once it has begun.
fn picked(world: &World, run: &str) -> Option<usize> {
    if !world.run_names().contains(&run.to_owned()) || world.has_no_status(run) {
        return None;
    }
    let steps = world.status(run).steps;
    let step = steps.first().filter(|step| step.started.is_some())?;
    Some(step.picked as usize)
}

/// What holds at every moment.
fn check(world: &World, most: usize, nodes: usize) -> Result<(), TestCaseError> {
    let held = world.held();
    prop_assert!(held.len() <= most, "{held:?}");
    prop_assert!(world.nodes_of(&held) <= nodes, "{held:?}");
    let mut ends: BTreeMap<String, Timestamp> = BTreeMap::new();
    for pod in held {
        let text = world.text(&pod).unwrap_or_default();
        for sentence in chaos_fault::parse(&text).unwrap_or_default() {
            let fault = sentence.fault;
            prop_assert!(fault.guarded && fault.name.is_some());
            ends.insert(pod.clone(), fault.until.unwrap_or(Timestamp::MAX));
        }
    }
    // The end of the step is the same on all pods, whoever was picked when.
    let mut ends: Vec<Timestamp> = ends.into_values().collect();
    ends.dedup();
    prop_assert!(ends.len() <= 1, "{ends:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_picked_never_beyond_limits_and_nothing_after_the_end(
        happenings in prop::collection::vec(happening(), 1..40),
        pick in prop_oneof![Just("2"), Just("50%"), Just("all")],
        follow in any::<bool>(),
        most_targets in 2_usize..6,
        most_nodes in 1_usize..4,
        max_share in 20_usize..=100,
        min_available in prop::option::of(0_usize..4),
    ) {
        let mut world = World::new(&[("a", 2), ("b", 2), ("c", 1)]);
        let mut spec = one_step(pick, "1m");
        spec["targets"]["web"]["replaced"] = json!(if follow { "Follow" } else { "Drop" });
        spec["limits"] = json!({ "targets": most_targets, "nodes": most_nodes });
        spec["steps"][0]["onError"] = json!("Continue");
        world.run("run", spec);
        world.annotations.insert("chaos-agent.dev/allow-verbs".into(), "default, delete pods".into());
        world.annotations.insert(MAX_SHARE.into(), format!("{max_share}%"));
        world.min_available = min_available;
        let mut made = 0;
        let mut most = None;
        let mut created = BTreeMap::new();
        for one in &happenings {
            let before = world.held();
            let ready = world.ready();
            happen(&mut world, one, &mut made);
            if let Some(picked) = picked(&world, "run") {
                most = Some(*most.get_or_insert(picked));
            }
            check(&world, most_targets.min(most.unwrap_or(0)), most_nodes)?;
            // Nothing is added to what is broken beyond the ceiling and the budget of that moment.
            if matches!(one, Happening::Worked | Happening::Killed(_)) {
                let held = world.held();
                let is_more = held.iter().any(|pod| !before.contains(pod));
                let selected = ready.iter().chain(before.iter().filter(|pod| !ready.contains(pod)));
                let selected = selected.count();
                prop_assert!(!is_more || held.len() * 100 <= selected * max_share, "{held:?} of {selected}");
                let left = ready.iter().filter(|pod| !held.contains(pod)).count();
                prop_assert!(!is_more || left >= min_available.unwrap_or(0), "{held:?} of {ready:?}");
            }
            // Each pod that is removed was there when the step began, and none goes twice.
            for pod in world.names() {
                created.insert(pod.clone(), world.created(&pod));
            }
            prop_assert!(world.removed.len() <= picked(&world, "deleting").unwrap_or(0));
            let begun = world.began("deleting");
            for pod in &world.removed {
                prop_assert!(created.get(pod).copied() <= begun, "{pod}");
            }
            let mut names = world.removed.clone();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), world.removed.len());
        }
        // Whatever happened: in the end nothing is left.
        for node in NODES {
            world.agent(node, Agent::Fit);
        }
        world.pass(90);
        prop_assert!(world.held().is_empty());
        let status = world.status("run");
        prop_assert!(status.reason.is_some(), "{status:?}");
    }
}
