//! Steps that remove pods: which, how many, and none of them twice.

use chaos_api::kinds::{Reason, StepPhase};
use serde_json::{Value, json};

use super::world::{World, one_step};
use crate::names::MAX_SHARE;

const ALLOW: &str = "chaos-agent.dev/allow-verbs";

fn removing(action: &str, pick: Value) -> Value {
    json!({
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": pick } },
        "steps": [{ "name": "kill", "pods": { "target": "web", "action": action, "gracePeriod": "5s" } }],
    })
}

/// A cluster whose namespaces allow everything.
fn world(pods: usize) -> World {
    let mut world = World::new(&[("a", pods)]);
    world.annotations.insert(ALLOW.into(), "default, delete pods, evict pods".into());
    world
}

#[test]
fn picked_pods_are_deleted_once_and_their_replacements_are_not() {
    let mut world = world(6);
    world.run("run", removing("Delete", json!("50%")));
    // What is to go is written before it goes, and whoever leads then removes the same.
    let actions = world.look();
    assert_eq!(actions.remove.len(), 0);
    world.apply_statuses(actions);
    assert_eq!(world.status("run").steps[0].pods.len(), 3);
    let first = world.look();
    assert_eq!((first.remove.len(), first.remove[0].grace), (3, Some(5)));
    // Killed after one of them: the others follow.
    world.remove_by(&first.remove[0]);
    world.forget();
    let second = world.look();
    assert_eq!(second.remove, first.remove[1..]);
    for removal in &first.remove {
        world.add(&format!("{}-new", removal.pod.name), "a");
    }
    world.settle();
    assert_eq!(world.removed.len(), 3);
    assert_eq!(world.names().len(), 6);
    let status = world.status("run");
    assert_eq!((status.reason, status.summary.targets.as_str()), (Some(Reason::Completed), "3/3"));
    assert_eq!((status.steps[0].picked, status.steps[0].pods.len()), (3, 0));
    world.pass(5);
    assert_eq!(world.removed.len(), 3);
}

#[test]
fn a_halt_stops_removals() {
    let mut world = world(4);
    world.run("run", removing("Delete", json!("all")));
    let actions = world.look();
    world.apply_statuses(actions);
    let first = world.look().remove;
    world.remove_by(&first[0]);
    world.halt("run");
    world.settle();
    assert_eq!(world.removed.len(), 1);
    let status = world.status("run");
    assert_eq!((status.reason, status.steps[0].pods.len()), (Some(Reason::Halted), 0));
}

#[test]
fn evictions_wait_for_budgets_and_give_up_in_the_end() {
    let mut world = world(4);
    world.min_available = Some(3);
    world.run("run", removing("Evict", json!(2)));
    world.settle();
    // One is allowed; the other has to wait for a replacement.
    assert_eq!(world.removed.len(), 1);
    assert_eq!(world.status("run").summary.targets, "1/2");
    world.add("new", "a");
    world.settle();
    assert_eq!(world.removed.len(), 2);
    assert_eq!(world.status("run").reason, Some(Reason::Completed));

    world.run("late", removing("Evict", json!(2)));
    world.pass(125);
    let status = world.status("late");
    assert_eq!(
        (status.reason, status.message.as_str()),
        (Some(Reason::StepFailed), "step kill: 0 of 2 pods were removed within 2m")
    );
    assert_eq!(world.removed.len(), 2);
}

#[test]
fn restarts_go_one_by_one_while_all_others_are_ready() {
    let mut world = world(3);
    world.run("run", removing("Restart", json!(2)));
    world.settle();
    assert_eq!(world.removed.len(), 1);
    world.add("first", "a");
    world.set_ready("first", false);
    world.settle();
    assert_eq!(world.removed.len(), 1);
    world.set_ready("first", true);
    world.settle();
    assert_eq!(world.removed.len(), 2);
    assert_eq!(world.status("run").steps[0].phase, StepPhase::Running);
    world.add("second", "a");
    world.settle();
    assert_eq!(world.status("run").reason, Some(Reason::Completed));

    // Nobody replaces it.
    world.run("alone", removing("Restart", json!(2)));
    world.pass(125);
    assert_eq!(world.removed.len(), 3);
    let message = world.status("alone").message;
    assert_eq!(message, "step kill: 1 of 2 pods were removed within 2m");
}

#[test]
fn what_is_not_allowed_is_refused_and_plans_and_shadows_touch_nothing() {
    for (allowed, action, expected) in [
        ("default", "Delete", "does not allow `delete pods`; annotate it, such as"),
        ("evict pods", "Restart", "does not allow `delete pods`"),
        ("delete pods", "Evict", "does not allow `evict pods`"),
    ] {
        let mut world = world(2);
        world.annotations.insert(ALLOW.into(), allowed.into());
        world.run("run", removing(action, json!(1)));
        world.settle();
        let status = world.status("run");
        assert_eq!((status.reason, world.removed.len()), (Some(Reason::Refused), 0));
        assert!(status.message.contains(expected), "{}", status.message);
    }
    for (mode, reason, expected) in [
        ("Plan", Reason::Planned, "kill would delete 2 pods, of 4 selected, on 1 node"),
        (
            "Shadow",
            Reason::Completed,
            "every step was done; kill would delete 2 pods, of 4 selected, on 1 node",
        ),
    ] {
        let mut world = world(4);
        world.run_in_mode("run", removing("Delete", json!("50%")), mode);
        world.settle();
        let status = world.status("run");
        assert_eq!((status.reason, status.message.as_str()), (Some(reason), expected));
        assert_eq!((world.removed.len(), world.writes), (0, 0));
    }
    let mut many = world(257);
    many.run("run", removing("Delete", json!("all")));
    many.settle();
    assert!(many.status("run").message.contains("a step removes 256 at most"));
    assert_eq!(many.removed.len(), 0);
    // Nor the pods of the agents, whatever their namespace says.
    let mut own = world(1);
    own.move_to("a-0", "chaos-agent");
    own.run_in("chaos-agent", "run", json!({ "inline": removing("Delete", json!(1)) }));
    own.settle();
    assert_eq!((own.status("run").reason, own.removed.len()), (Some(Reason::Refused), 0));
}

#[test]
fn limits_hold_for_deletions() {
    let mut short = world(4);
    short.min_available = Some(3);
    short.run("run", removing("Delete", json!(2)));
    short.settle();
    let message = short.status("run").message;
    assert!(message.contains("PodDisruptionBudget web allows no more disruptions"), "{message}");
    assert_eq!(short.removed.len(), 0);
    let mut spec = removing("Delete", json!(2));
    spec["limits"] = json!({ "disruptionBudgets": "Ignore" });
    short.run("ignoring", spec);
    short.settle();
    assert_eq!(short.removed.len(), 2);

    let mut capped = world(4);
    capped.annotations.insert(MAX_SHARE.into(), "25%".into());
    capped.run("run", removing("Delete", json!(2)));
    capped.settle();
    assert!(capped.status("run").message.contains("max-share: 25% of 4 pods are 1"));
    assert_eq!(capped.removed.len(), 0);
}

#[test]
fn pods_that_were_broken_before_need_room_to_be_deleted() {
    let mut spec = removing("Delete", json!(1));
    let fault = one_step("1", "10s")["steps"][0].clone();
    spec["steps"] = json!([fault, spec["steps"][0]]);
    for (min_available, reason, removed) in [(3, Reason::Completed, 1), (4, Reason::StepFailed, 0)]
    {
        let mut world = world(4);
        world.min_available = Some(3);
        world.run("run", spec.clone());
        world.settle();
        assert_eq!(world.held().len(), 1);
        world.min_available = Some(min_available);
        world.pass(30);
        let status = world.status("run");
        assert_eq!((status.reason, world.removed.len()), (Some(reason), removed), "{status:?}");
    }
}

#[test]
fn removals_and_faults_follow_each_other() {
    let mut world = world(3);
    let mut spec = removing("Delete", json!(1));
    let fault = one_step("1", "10s")["steps"][0].clone();
    spec["steps"] = json!([fault, spec["steps"][0], fault]);
    spec["steps"][2]["name"] = json!("again");
    world.run("run", spec);
    world.settle();
    assert_eq!((world.held().len(), world.removed.len()), (1, 0));
    world.pass(12);
    world.settle();
    assert_eq!((world.held().len(), world.removed.len()), (1, 1));
    world.pass(12);
    world.settle();
    assert_eq!(world.status("run").reason, Some(Reason::Completed));
    assert_eq!(world.removed.len(), 1);
}
