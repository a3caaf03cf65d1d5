//! Runs whole runs by a clock of the test's, and checks what is promised whatever happens.

mod ceilings;
mod healed;
mod probes;
mod random;
mod removals;
mod reports;
mod targets;
mod turns;
mod world;

use chaos_api::kinds::{Reason, RunPhase, StepPhase, Verdict, VerdictReason};
use chaos_probe::Outcome;
use serde_json::json;
use world::{Agent, World, one_step};

#[test]
fn a_run_breaks_as_many_pods_as_are_picked_and_ends() {
    let mut world = World::new(&[("a", 3), ("b", 3)]);
    world.run("run", one_step("50%", "1m"));
    world.settle();
    assert_eq!(world.held().len(), 3);
    let first = world.held();
    let text = world.text(&first[0]).unwrap();
    assert!(
        text.ends_with("\ndrop egress tcp for 1m until 2026-11-28T10:01:00Z as run/slow guarded"),
        "{text}"
    );
    world.count(&first[0], 100, 10);
    world.settle();
    let status = world.status("run");
    assert_eq!((status.phase, status.summary.targets.as_str()), (RunPhase::Running, "3/3"));
    assert_eq!((status.ledger.matched, status.ledger.injected), (100, 10));
    assert_eq!((status.targets.armed, status.targets.selected), (3, 6));

    world.pass(59);
    assert_eq!(world.held(), first);
    world.pass(2);
    world.settle();
    let status = world.status("run");
    assert_eq!((status.phase, status.reason), (RunPhase::Finished, Some(Reason::Completed)));
    assert_eq!(status.ledger.injected, 10);
    // Without a chance there is no share to be judged.
    assert_eq!(status.verdict, Some(Verdict::Confirmed), "{}", status.verdict_message);
    assert!(world.held().is_empty());
    let finished = world.condition("run", "Finished").unwrap();
    assert_eq!((finished.status.as_str(), finished.reason.as_str()), ("True", "Completed"));
}

#[test]
fn faults_that_end_in_the_last_second_of_their_step_are_on_time() {
    for (before, verdict, reason) in [
        (1, Verdict::Confirmed, VerdictReason::AllInjected),
        (10, Verdict::Mismatch, VerdictReason::EndedEarly),
    ] {
        let mut world = World::new(&[("a", 1)]);
        world.run("run", one_step("1", "1m"));
        world.settle();
        world.count("a-0", 100, 100);
        world.pass(60 - before);
        world.end("a-0");
        world.settle();
        world.pass(before + 1);
        world.settle();
        let status = world.status("run");
        assert_eq!(status.reason, Some(Reason::Completed), "{}", status.message);
        let judged = (status.verdict, status.verdict_reason);
        assert_eq!(judged, (Some(verdict), Some(reason)), "{}", status.verdict_message);
    }
}

#[test]
fn a_step_is_written_before_it_acts() {
    let mut world = World::new(&[("a", 2)]);
    world.run("run", one_step("1", "1m"));
    let actions = world.look();
    assert_eq!((actions.runs.len(), actions.write.len()), (1, 0));
    // Whoever leads now knows nothing of it: the write is lost, and made again.
    assert_eq!(world.look().runs.len(), 1);
    world.apply_statuses(actions);
    let actions = world.look();
    assert_eq!(actions.write.len(), 1);
    // Another leader picks the same.
    world.forget();
    assert_eq!(world.look().write, actions.write);
}

#[test]
fn a_plan_and_a_refusal_touch_nothing() {
    for (spec, mode, reason, message) in [
        (
            one_step("all", "1m"),
            "Plan",
            Reason::Planned,
            "slow would break 4 pods, of 4 selected, on 2 nodes",
        ),
        (
            one_step("5", "1m"),
            "Armed",
            Reason::Refused,
            "step slow: target web: 5 pods are to be picked of 4",
        ),
        (
            limited(json!({ "targets": 3 })),
            "Armed",
            Reason::Refused,
            "limits.targets: 4 pods are picked, and 3 are allowed",
        ),
        (limited(json!({ "share": "30%" })), "Armed", Reason::Refused, "limits.share: "),
        (limited(json!({ "nodes": 1 })), "Armed", Reason::Refused, "limits.nodes: "),
        (limited(json!({ "minReady": 1 })), "Armed", Reason::Refused, "limits.minReady: "),
        (
            limited(json!({ "duration": "30s" })),
            "Armed",
            Reason::Refused,
            "limits.duration: the steps take 1m, and 30s",
        ),
    ] {
        let mut world = World::new(&[("a", 2), ("b", 2)]);
        world.run_in_mode("run", spec, mode);
        world.settle();
        let status = world.status("run");
        assert_eq!((status.phase, status.reason), (RunPhase::Finished, Some(reason)));
        assert!(status.message.contains(message), "{}", status.message);
        assert!(world.writes == 0, "{} writes", world.writes);
    }
}

fn limited(limits: serde_json::Value) -> serde_json::Value {
    let mut spec = one_step("all", "1m");
    spec["limits"] = limits;
    spec
}

#[test]
fn a_verb_that_is_not_allowed_is_refused_before_anything_is_touched() {
    let mut spec = one_step("1", "1m");
    spec["steps"][0]["fault"]["do"] = json!("drop; kill accept");
    let mut world = World::new(&[("a", 1)]);
    world.run("run", spec);
    world.settle();
    let status = world.status("run");
    assert_eq!((status.reason, world.writes), (Some(Reason::Refused), 0));
    let expected = "step slow: namespace shop does not allow `kill`; annotate it, such as \
                    chaos-agent.dev/allow-verbs='default, kill'";
    assert!(status.message.starts_with(expected), "{}", status.message);
}

#[test]
fn shadow_is_written_into_the_sentence() {
    let mut world = World::new(&[("a", 1)]);
    world.run_in_mode("run", one_step("1", "1m"), "Shadow");
    world.settle();
    assert!(world.text("a-0").unwrap().contains("\nshadow drop egress tcp for 1m"));
}

#[test]
fn a_target_without_a_fit_agent_refuses_the_run_or_is_left_out() {
    for (agent, expected) in [
        (Agent::Missing, "node b has no agent"),
        (Agent::Old, "update it"),
        (Agent::Silent, "is not ready"),
        (Agent::Weak, "drop"),
        (Agent::Strict, "node b does not allow `drop`; it allows delay"),
    ] {
        let mut world = World::new(&[("a", 1), ("b", 1)]);
        world.agent("b", agent);
        world.run("run", one_step("all", "1m"));
        world.settle();
        let status = world.status("run");
        assert_eq!(status.reason, Some(Reason::Refused));
        assert!(
            status.message.contains("1 of 2 picked pods cannot be armed"),
            "{}",
            status.message
        );
        let exception = &status.exceptions[0];
        assert!(exception.message.contains(expected), "{exception:?}");
        assert_eq!((exception.count, exception.example.as_str()), (1, "shop/b-0"));
        assert_eq!(world.writes, 0);

        let mut world = World::new(&[("a", 1), ("b", 1)]);
        world.agent("b", agent);
        let mut spec = one_step("all", "1m");
        spec["steps"][0]["onError"] = json!("Continue");
        world.run("run", spec);
        world.settle();
        assert_eq!(world.held(), ["a-0"]);
    }
}

#[test]
fn a_halt_takes_the_texts_away_and_then_ends_the_run() {
    let mut world = World::new(&[("a", 3)]);
    world.run("run", one_step("2", "1m"));
    world.settle();
    assert_eq!(world.held().len(), 2);
    world.halt("run");
    let actions = world.look();
    assert_eq!((actions.clear.len(), actions.write.len()), (2, 0));
    // Agents are told at once, whatever the pace of writes.
    assert_eq!(actions.ending.iter().collect::<Vec<_>>(), ["shop/run"]);
    world.settle();
    assert!(world.held().is_empty() && world.look().ending.is_empty());
    assert_eq!(world.status("run").reason, Some(Reason::Halted));
    world.pass(30);
    assert!(world.held().is_empty());
}

#[test]
fn the_lever_ends_every_run_and_refuses_more() {
    let mut world = World::new(&[("a", 2)]);
    world.run("run", one_step("1", "1m"));
    world.settle();
    world.lever = Some("INC-4711".to_owned());
    world.settle();
    world.run("second", one_step("1", "1m"));
    world.settle();
    assert!(world.held().is_empty());
    for (run, reason) in [("run", Reason::Halted), ("second", Reason::Refused)] {
        let status = world.status(run);
        assert_eq!(
            (status.reason, status.message.as_str()),
            (Some(reason), "the cluster is halted: INC-4711")
        );
    }
}

#[test]
fn what_is_deleted_takes_its_texts_along() {
    let mut world = World::new(&[("a", 3)]);
    world.experiment("slow", one_step("2", "1m"));
    world.run_of("run", "slow");
    world.settle();
    assert_eq!(world.held().len(), 2);
    // Edited, it is another experiment: the run goes on with its copy.
    world.experiment("slow", one_step("3", "5m"));
    world.settle();
    assert_eq!(world.held().len(), 2);
    world.delete_experiment("slow");
    world.settle();
    assert!(world.held().is_empty());
    assert_eq!(world.status("run").reason, Some(Reason::ExperimentDeleted));

    let mut world = World::new(&[("a", 3)]);
    world.run("run", one_step("2", "1m"));
    world.settle();
    world.delete_run("run");
    world.settle();
    assert!(world.held().is_empty());
}

#[test]
fn an_annotation_of_somebody_else_is_left_alone() {
    let mut world = World::new(&[("a", 2)]);
    world.annotate("a-0", "drop");
    world.run("run", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.held(), ["a-1"]);
    assert_eq!(world.status("run").exceptions[0].message, "taken by kubectl-annotate");
    // One who overwrites ours has taken the pod over; nothing is free now.
    world.annotate("a-1", "corrupt");
    world.settle();
    assert!(world.held().is_empty());
    assert_eq!(world.text("a-1").as_deref(), Some("corrupt"));
    world.halt("run");
    world.settle();
    assert_eq!(world.text("a-0").as_deref(), Some("drop"));
}

#[test]
fn pods_are_counted_before_their_faults_are_written() {
    let mut world = World::new(&[("a", 4), ("b", 4)]);
    assert_eq!(world.look().armed_pods, 0);
    // What others ask for counts once it is armed.
    world.annotate("a-0", "drop");
    assert_eq!(world.look().armed_pods, 0);
    world.answer();
    assert_eq!(world.look().armed_pods, 1);
    world.run("run", one_step("3", "1m"));
    let planned = world.look();
    assert_eq!((planned.armed_pods, planned.write.len()), (1, 0));
    world.apply_statuses(planned);
    let begun = world.look();
    assert_eq!((begun.armed_pods, begun.write.len()), (4, 3));
    world.settle();
    assert_eq!(world.look().armed_pods, 4);
    world.halt("run");
    world.settle();
    world.annotate("a-0", "");
    world.answer();
    assert_eq!(world.look().armed_pods, 0);
}

#[test]
fn faults_that_somebody_took_off_are_not_put_back() {
    let mut world = World::new(&[("a", 1)]);
    world.run("run", one_step("1", "1m"));
    world.settle();
    world.annotate("a-0", "");
    world.settle();
    assert!(world.held().is_empty());
    let status = world.status("run");
    assert_eq!(status.exceptions[0].message, "its annotation was removed");
}

#[test]
fn a_replacement_takes_the_place_of_a_pod_that_is_gone() {
    for (replaced, expected) in [("Follow", 2), ("Drop", 1)] {
        let mut world = World::new(&[("a", 2), ("b", 2)]);
        let mut spec = one_step("2", "1m");
        spec["targets"]["web"]["replaced"] = json!(replaced);
        world.run("run", spec);
        world.settle();
        let before = world.held();
        assert_eq!(before.len(), 2);
        world.pass(20);
        world.remove(&before[0]);
        world.add("new", "b");
        world.settle();
        let after = world.held();
        assert_eq!(after.len(), expected, "{replaced}");
        assert!(after.contains(&before[1]));
        if let Some(new) = after.iter().find(|pod| !before.contains(pod)) {
            let text = world.text(new).unwrap();
            assert!(text.contains(" for 40s until 2026-11-28T10:01:00Z "), "{text}");
        }
    }
}

#[test]
fn two_runs_do_not_share_a_pod() {
    let mut world = World::new(&[("a", 3)]);
    world.run("first", one_step("2", "1m"));
    world.settle();
    let first = world.held();
    world.run("second", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.held().len(), 3);
    world.run("third", one_step("1", "1m"));
    world.settle();
    let third = world.status("third");
    assert_eq!(third.reason, Some(Reason::Refused));
    assert!(third.message.contains("1 pod is to be picked, and 0 are free"), "{}", third.message);
    world.halt("second");
    world.settle();
    assert_eq!(world.held(), first);
}

#[test]
fn a_step_fails_when_its_pods_are_not_armed_in_time() {
    let mut world = World::new(&[("a", 1)]);
    world.answers = false;
    world.run("run", one_step("1", "5m"));
    world.settle();
    world.pass(29);
    assert_eq!(world.status("run").steps[0].phase, StepPhase::Running);
    world.pass(3);
    world.settle();
    let status = world.status("run");
    assert_eq!(
        (status.reason, status.steps[0].phase),
        (Some(Reason::StepFailed), StepPhase::Failed)
    );
    assert_eq!(status.message, "step slow: 0 of 1 pods were armed within 30s");
    assert!(world.held().is_empty());
}

#[test]
fn steps_follow_each_other() {
    let mut world = World::new(&[("a", 2)]);
    let mut spec = one_step("1", "10s");
    spec["steps"] = json!([
        { "name": "first", "fault": { "target": "web", "do": "drop", "for": "10s" } },
        { "name": "rest", "wait": { "for": "20s" } },
        { "name": "second", "fault": { "target": "web", "do": "corrupt", "for": "10s" } },
    ]);
    world.run("run", spec);
    world.settle();
    let first = world.held();
    assert!(world.text(&first[0]).unwrap().contains("as run/first"));
    world.pass(11);
    world.settle();
    assert!(world.held().is_empty());
    assert_eq!(world.status("run").steps[1].phase, StepPhase::Running);
    world.pass(22);
    world.settle();
    // The same pod again: the pick is the run's.
    assert_eq!(world.held(), first);
    assert!(world.text(&first[0]).unwrap().contains("as run/second"));
    world.pass(15);
    world.settle();
    assert_eq!(world.status("run").reason, Some(Reason::Completed));
}

#[test]
fn a_namespace_without_the_label_refuses_and_ends_runs() {
    let mut world = World::new(&[("a", 1)]);
    world.run("run", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.held().len(), 1);
    world.enabled = false;
    world.settle();
    assert!(world.held().is_empty());
    let status = world.status("run");
    assert!(status.message.contains("label it chaos-agent.dev/enabled=true"), "{}", status.message);
    world.run("second", one_step("1", "1m"));
    world.settle();
    assert_eq!(world.status("second").reason, Some(Reason::Refused));
}

#[test]
fn an_experiment_is_told_what_is_wrong_with_it() {
    let mut world = World::new(&[]);
    world.experiment("good", one_step("1", "1m"));
    let mut spec = one_step("1", "1m");
    spec["steps"][0]["fault"]["do"] = json!("drip egress");
    world.experiment("bad", spec);
    world.settle();
    let accepted = |name: &str| world.experiment_condition(name).unwrap();
    assert_eq!(accepted("good").status, "True");
    let bad = accepted("bad");
    assert_eq!(bad.status, "False");
    assert!(bad.message.contains("1 | drip egress"), "{}", bad.message);
}

#[test]
fn a_run_of_an_experiment_that_is_not_there_waits_a_little() {
    let mut world = World::new(&[("a", 1)]);
    world.run_of("run", "slow");
    world.settle();
    assert!(world.has_no_status("run"));
    world.pass(6);
    world.settle();
    assert_eq!(world.status("run").message, "there is no experiment slow in namespace shop");
}

#[test]
fn the_status_of_a_large_run_has_a_bound() {
    let mut world = World::new(&[("a", 300)]);
    let mut spec = one_step("all", "1m");
    let sentences = ["drop to 10.0.0.1 port 1"; 20].join("; ");
    let step = |number: usize| json!({ "name": format!("step-{number}"), "fault": { "target": "web", "do": sentences, "for": "1m" } });
    spec["steps"] = (0..16).map(step).collect();
    let name = |number: usize| format!("{number:-<40}");
    let probe = |number: usize| json!({ "name": name(number), "http": { "url": "http://web" }, "every": "1s", "during": "Record" });
    spec["probes"] = (0..16).map(probe).collect();
    world.run("run", spec);
    world.pass(6);
    world.service = (0..16).map(|number| (name(number), Outcome::Fail)).collect();
    world.answer_at_length = true;
    world.pass(3);
    let status = world.status("run");
    assert_eq!((status.targets.armed, status.probes[15].worst.len()), (300, 120));
    let length = serde_json::to_string(&status).unwrap().len();
    assert!(length <= 32 * 1024, "{length}");
}
