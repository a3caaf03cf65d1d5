//! What is told of runs, by their statuses.

use serde_json::{Value, json};

use super::*;

fn run(name: &str, phase: &str, reason: Option<&str>) -> Run {
    let is_finished = phase == "Finished";
    let status: Value = json!({
        "phase": phase, "reason": reason,
        "verdict": is_finished.then_some("Confirmed"), "hypothesis": is_finished.then_some("Deviated"),
        "targets": { "selected": 6, "nodes": 2, "armed": 3, "waiting": 1, "refused": 0, "ended": 0 },
        "probes": [{ "name": "web", "checks": 9, "failed": 2, "errors": 1, "value": 0.25 }],
    });
    serde_json::from_value(json!({
        "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": name, "namespace": "shop", "uid": name },
        "spec": { "experiment": "slow-payments", "mode": "Shadow" },
        "status": status,
    }))
    .unwrap()
}

fn text(meter: &ControllerMeter) -> String {
    reading(meter).text().unwrap()
}

fn has(text: &str, series: &str) -> bool {
    text.lines().any(|line| line == series)
}

#[test]
fn a_run_is_told_of_while_this_controller_leads() {
    let meter = ControllerMeter::new("1.2.3");
    assert!(has(&text(&meter), "chaos_controller_leader 0.0"));
    assert_eq!((meter.looked_ago(), meter.is_synced()), (None, false));
    meter.synced();
    meter.looked(Some(vec![
        Arc::new(run("a", "Running", None)),
        Arc::new(run("z", "Finished", None)),
    ]));
    assert!(meter.is_synced() && meter.looked_ago().is_some());
    let led = text(&meter);
    let of_run = "namespace=\"shop\",experiment=\"slow-payments\",run=\"a\"";
    for series in [
        "chaos_controller_leader 1.0".to_owned(),
        format!("chaos_run_active{{{of_run},mode=\"Shadow\"}} 1.0"),
        "chaos_run_targets{namespace=\"shop\",run=\"a\",state=\"armed\"} 3.0".to_owned(),
        format!("chaos_probe_value{{{of_run},probe=\"web\"}} 0.25"),
        format!("chaos_probe_checks_total{{{of_run},probe=\"web\",result=\"pass\"}} 6"),
        format!("chaos_probe_checks_total{{{of_run},probe=\"web\",result=\"fail\"}} 2"),
        format!("chaos_probe_checks_total{{{of_run},probe=\"web\",result=\"error\"}} 1"),
    ] {
        assert!(has(&led, &series), "{series}:\n{led}");
    }
    assert!(!led.contains("\"z\""), "it ended before:\n{led}");

    // At its end only what was counted stays.
    meter.looked(Some(vec![Arc::new(run("a", "Finished", None))]));
    let ended = text(&meter);
    assert!(
        !ended.contains("chaos_run_active{") && !ended.contains("chaos_probe_value{"),
        "{ended}"
    );
    assert!(ended.contains("chaos_probe_checks_total{"), "{ended}");
    meter.looked(None);
    assert!(!text(&meter).contains("run=\"a\""));
}

#[test]
fn each_end_is_counted_once_by_its_cause() {
    let meter = ControllerMeter::new("1.2.3");
    let mut before: Option<Run> = None;
    for (phase, reason) in [
        ("Running", None),
        ("Running", Some("ProbeBroke")),
        ("Recovering", Some("ProbeBroke")),
        ("Finished", Some("ProbeBroke")),
        ("Finished", Some("ProbeBroke")),
    ] {
        let now = run("a", phase, reason);
        meter.wrote(before.as_ref().and_then(|run| run.status.as_ref()), &now, false);
        before = Some(now);
    }
    for (reason, is_lever_pulled, is_asked_for) in [
        ("Halted", false, true),
        ("Halted", true, false),
        ("Halted", false, false),
        ("ExperimentDeleted", false, false),
    ] {
        let running = run("b", "Running", None);
        let mut finished = run("b", "Finished", Some(reason));
        finished.spec.halt = is_asked_for;
        meter.wrote(running.status.as_ref(), &finished, is_lever_pulled);
    }
    meter.annotated(Some(200));
    meter.annotated(Some(200));
    meter.annotated(None);
    let told = text(&meter);
    let ended = "namespace=\"shop\",experiment=\"slow-payments\",verdict=\"Confirmed\",hypothesis=\"Deviated\"";
    for series in [
        "chaos_halts_total{namespace=\"shop\",cause=\"probe\"} 1".to_owned(),
        "chaos_halts_total{namespace=\"shop\",cause=\"human\"} 1".to_owned(),
        "chaos_halts_total{namespace=\"shop\",cause=\"lever\"} 1".to_owned(),
        "chaos_halts_total{namespace=\"shop\",cause=\"limit\"} 1".to_owned(),
        "chaos_halts_total{namespace=\"shop\",cause=\"deleted\"} 1".to_owned(),
        format!("chaos_runs_total{{{ended},reason=\"ProbeBroke\"}} 1"),
        format!("chaos_runs_total{{{ended},reason=\"Halted\"}} 3"),
        "chaos_apply_requests_total{code=\"200\"} 2".to_owned(),
        "chaos_apply_requests_total{code=\"none\"} 1".to_owned(),
    ] {
        assert!(has(&told, &series), "{series}:\n{told}");
    }
}
