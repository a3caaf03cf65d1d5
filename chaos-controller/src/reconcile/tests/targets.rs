//! Which pods a target means: by the workload that they belong to, in other namespaces, and a share that is drawn.

use chaos_api::kinds::{Reason, StepPhase};
use serde_json::{Value, json};

use super::world::{World, one_step};

/// A step on all pods of a target.
fn of_target(mut target: Value) -> Value {
    target["pick"] = json!("all");
    let mut spec = one_step("all", "1m");
    spec["targets"]["web"] = target;
    spec
}

#[test]
fn pods_are_found_by_their_workload() {
    let owner = |kind: &str, name: &str| json!({ "owner": { "kind": kind, "name": name } });
    for (target, expected) in [
        (owner("Deployment", "web"), vec!["a-0", "a-1"]),
        (owner("ReplicaSet", "web-2"), vec!["a-1"]),
        (owner("StatefulSet", "web"), vec!["a-2"]),
    ] {
        let mut world = World::new(&[("a", 4)]);
        for (between, pod) in [("web-1", "a-0"), ("web-2", "a-1")] {
            world.between.push((between, ["apps/v1", "Deployment", "web"]));
            world.own(pod, ["apps/v1", "ReplicaSet", between]);
        }
        world.own("a-2", ["apps/v1", "StatefulSet", "web"]);
        world.run("run", of_target(target));
        world.settle();
        assert_eq!(world.held(), expected);
    }
    // Labels and owner together narrow each other down.
    let mut world = World::new(&[("a", 2)]);
    world.own("a-0", ["apps/v1", "StatefulSet", "web"]);
    world.own("a-1", ["apps/v1", "StatefulSet", "web"]);
    world.relabel("a-1", "canary");
    let mut target = owner("StatefulSet", "web");
    target["pods"] = json!({ "matchLabels": { "app": "web" } });
    world.run("run", of_target(target));
    world.settle();
    assert_eq!(world.held(), ["a-0"]);
}

#[test]
fn other_namespaces_are_for_runs_in_the_namespace_of_the_agents() {
    let mut target =
        json!({ "namespaces": ["bank", "shop"], "pods": { "matchLabels": { "app": "web" } } });
    let mut world = World::new(&[("a", 3)]);
    world.move_to("a-0", "bank");
    world.move_to("a-1", "dark");
    world.run("run", of_target(target.clone()));
    world.settle();
    let refused = world.status("run");
    assert_eq!((refused.reason, world.writes), (Some(Reason::Refused), 0));
    let expected = "target web: namespaces are honoured in namespace chaos-agent only";
    assert!(refused.message.starts_with(expected), "{}", refused.message);
    world.experiment("far", of_target(target.clone()));
    world.settle();
    let condition = world.experiment_condition("far").unwrap();
    assert!(condition.status == "False" && condition.message.starts_with(expected));

    let spec = json!({ "inline": of_target(target.clone()) });
    world.run_in("chaos-agent", "far", spec);
    world.settle();
    assert_eq!(world.held(), ["a-0", "a-2"]);
    // Agents know by the name, and by the Lease, whose fault it is.
    let text = world.text("a-0").unwrap();
    assert!(text.ends_with(" as chaos-agent/far/slow guarded"), "{text}");
    world.count("a-0", 100, 10);
    world.settle();
    let status = world.status("far");
    assert_eq!((status.targets.armed, status.ledger.injected), (2, 10));
    world.halt("far");
    let ending = world.look().ending;
    assert_eq!(ending.iter().collect::<Vec<_>>(), ["chaos-agent/far"]);
    world.settle();
    assert!(world.held().is_empty());

    // One of the namespaces does not allow faults.
    target["namespaces"] = json!(["bank", "dark"]);
    world.run_in("chaos-agent", "dark", json!({ "inline": of_target(target) }));
    world.settle();
    let refused = world.status("dark");
    assert!(refused.message.contains("namespace dark does not allow faults"), "{refused:?}");
    assert!(world.held().is_empty());
}

#[test]
fn a_share_is_drawn_once_whoever_leads() {
    let mut world = World::new(&[("a", 20)]);
    world.run("run", one_step("10%-60%", "1m"));
    world.settle();
    let held = world.held();
    assert!((2..=12).contains(&held.len()), "{held:?}");
    world.forget();
    world.pass(3);
    assert_eq!(world.held(), held);
    assert_eq!(world.status("run").steps[0].phase, StepPhase::Running);
}
