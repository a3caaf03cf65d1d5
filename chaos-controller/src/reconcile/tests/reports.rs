//! What the report of a run says of each pod, whoever leads.

use chaos_api::kinds::Reason;
use serde_json::json;

use super::world::{World, one_step};
use crate::report::State;

#[test]
fn each_pod_of_a_run_has_a_line_also_when_it_or_the_leader_is_gone() {
    let mut world = World::new(&[("a", 2), ("b", 1)]);
    let verbs = "default, delete pods";
    world.annotations.insert("chaos-agent.dev/allow-verbs".into(), verbs.into());
    let mut spec = one_step("2", "2m");
    let kill = json!({ "name": "kill", "pods": { "target": "web", "action": "Delete" } });
    spec["steps"] = json!([spec["steps"][0], kill]);
    world.run("run", spec);
    world.settle();
    assert_eq!(world.status("run").report.as_deref(), Some("run-report"));
    let first = world.held();
    for pod in &first {
        world.count(pod, 10, 4);
    }
    world.pass(61);
    let line = |pod: &String, state| (pod.clone(), "slow".to_owned(), state, 4);
    let expected: Vec<_> = first.iter().map(|pod| line(pod, State::Armed)).collect();
    assert_eq!(world.report("run"), expected);

    // One pod goes, and then the leader.
    world.remove(&first[0]);
    world.pass(2);
    let second: Vec<String> = world.held().into_iter().filter(|pod| !first.contains(pod)).collect();
    assert_eq!(second.len(), 1);
    world.forget();
    world.pass(75);
    world.settle();
    assert_eq!(world.status("run").reason, Some(Reason::Completed));
    assert_eq!(world.removed.len(), 2);
    let mut expected = vec![
        line(&first[0], State::Armed),
        line(&first[1], State::Ended),
        (second[0].clone(), "slow".to_owned(), State::Ended, 0),
    ];
    let removed = |pod: &String| (pod.clone(), "kill".to_owned(), State::Removed, 0);
    expected.extend(world.removed.iter().map(removed));
    expected.sort();
    assert_eq!(world.report("run"), expected);
}

#[test]
fn plans_and_refused_runs_have_no_report() {
    let mut world = World::new(&[("a", 1)]);
    world.run_in_mode("plan", one_step("1", "1m"), "Plan");
    world.run("refused", one_step("2", "1m"));
    world.settle();
    for run in ["plan", "refused"] {
        assert_eq!((world.status(run).report, world.report(run).len()), (None, 0));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_until_it_can() {
    let mut world = World::new(&[("a", 1)]);
    world.refuses_reports = true;
    world.run("run", one_step("1", "5m"));
    world.settle();
    world.pass(61);
    let told = |world: &World| {
        let conditions = world.status("run").conditions;
        let told = conditions.into_iter().find(|condition| condition.type_ == "Reported");
        told.map(|condition| (condition.status, condition.message))
    };
    let message = "the report cannot be written, so the status alone tells of pods: taken";
    assert_eq!(told(&world), Some(("False".to_owned(), message.to_owned())));
    world.refuses_reports = false;
    let pod = world.held()[0].clone();
    world.count(&pod, 10, 4);
    world.pass(62);
    assert_eq!(told(&world), Some(("True".to_owned(), String::new())));
    assert_eq!(world.report("run").len(), 1);
}
