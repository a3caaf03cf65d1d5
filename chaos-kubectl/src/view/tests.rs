//! How Runs look, whole.

use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::*;

const NOW: &str = "2026-11-28T10:11:08Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn plain(lines: &[String]) -> String {
    let text = lines.join("\n");
    anstream::adapter::strip_str(&text).to_string()
}

fn spec() -> Value {
    json!({
        "params": { "latency": "200ms" },
        "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": "50%" } },
        "limits": { "targets": 20, "duration": "15m" },
        "steps": [
            { "name": "slow", "fault": { "target": "web", "do": "delay $(latency) egress tcp to 10.96.0.12", "for": "5m" } },
            { "name": "rest", "wait": { "for": "1m" } },
            { "name": "lossy", "fault": { "target": "web", "do": "drop 1% egress tcp", "for": "2m" } },
        ],
    })
}

/// A Run in the middle of its first step.
fn run(change: impl FnOnce(&mut Value)) -> Run {
    let ledger = json!({ "matched": 204_411, "injected": 91_823, "shadowed": 0, "spared": 112_588, "lost": 0 });
    let none = json!({ "matched": 0, "injected": 0, "shadowed": 0, "spared": 0, "lost": 0 });
    let mut run = json!({
        "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "slow-payments-7k2", "namespace": "shop", "creationTimestamp": "2026-11-28T10:08:54Z" },
        "spec": { "experiment": "slow-payments" },
        "status": {
            "phase": "Running", "message": "", "spec": spec(),
            "steps": [
                { "name": "slow", "phase": "Running", "started": "2026-11-28T10:09:00Z", "ends": "2026-11-28T10:14:00Z",
                  "picked": 6, "ledger": ledger },
                { "name": "rest", "phase": "Pending", "ledger": none },
                { "name": "lossy", "phase": "Pending", "ledger": none },
            ],
            "summary": { "targets": "4/6" },
            "targets": { "selected": 12, "nodes": 3, "armed": 4, "waiting": 1, "refused": 1, "ended": 0 },
            "ledger": ledger,
            "exceptions": [{ "count": 2, "message": "taken by kubectl-annotate", "example": "shop/web-0" }],
            "conditions": [],
        },
    });
    change(&mut run);
    serde_json::from_value(run).unwrap()
}

fn finish(run: &mut Value, reason: &str, message: &str) {
    run["status"]["phase"] = json!("Finished");
    run["status"]["reason"] = json!(reason);
    run["status"]["message"] = json!(message);
}

#[test]
fn a_run_that_goes_on() {
    assert_data_eq!(
        plain(&frame(&run(|_| {}), now(), 100)),
        str![[r#"
shop/slow-payments-7k2  Running  slow-payments, armed

▶ slow   2m52s left  91,823 injected  delay $(latency) egress tcp to 10.96.0.12 for 5m on web
· rest   pending                      wait 1m
· lossy  pending                      drop 1% egress tcp for 2m on web

targets  ████████████████████▒▒▒▒▒░░░░░  4/6 armed  1 waiting  1 refused  of 12 selected, on 3 nodes
ledger   matched 204,411  injected 91,823  spared 112,588

exceptions
2 pods  taken by kubectl-annotate (such as shop/web-0)
"#]]
    );
}

#[test]
fn a_run_on_a_narrow_terminal() {
    let lines = frame(&run(|_| {}), now(), 60);
    assert_data_eq!(
        plain(&lines),
        str![[r#"
shop/slow-payments-7k2  Running  slow-payments, armed

▶ slow   2m52s left  91,823 injected  delay $(latency)
                                      egress tcp to
                                      10.96.0.12 for 5m on
                                      web
· rest   pending                      wait 1m
· lossy  pending                      drop 1% egress tcp for
                                      2m on web

targets  4/6 armed  1 waiting  1 refused  of 12 selected, on 3 nodes
ledger   matched 204,411  injected 91,823  spared 112,588

exceptions
2 pods  taken by kubectl-annotate (such as shop/web-0)
"#]]
    );
}

#[test]
fn a_run_that_was_halted() {
    let halted = run(|run| {
        finish(run, "Halted", "it was halted");
        run["metadata"]["annotations"] = json!({ HALT_REASON: "INC-4711" });
        run["status"]["steps"][0]["phase"] = json!("Failed");
        run["status"]["targets"] = json!({ "selected": 12, "nodes": 3, "armed": 0, "waiting": 0, "refused": 0, "ended": 6 });
        run["status"]["exceptions"] = json!([]);
    });
    assert_data_eq!(
        plain(&frame(&halted, now(), 100)),
        str![[r#"
shop/slow-payments-7k2  Halted  slow-payments, armed
it was halted (INC-4711)

✗ slow   failed   91,823 injected  delay $(latency) egress tcp to 10.96.0.12 for 5m on web
· rest   pending                   wait 1m
· lossy  pending                   drop 1% egress tcp for 2m on web

targets  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓  6/6 armed  6 ended  of 12 selected, on 3 nodes
ledger   matched 204,411  injected 91,823  spared 112,588
"#]]
    );
}

#[test]
fn a_run_that_nobody_takes_up() {
    let pending = run(|run| {
        run["status"] = Value::Null;
    });
    assert_data_eq!(
        plain(&frame(&pending, now(), 100)),
        str![[r#"
shop/slow-payments-7k2  Pending  slow-payments, armed

no controller has taken it up for 134s; `kubectl chaos doctor` says whether one is there
"#]]
    );
}

#[test]
fn what_changes_is_told_in_lines() {
    let first = run(|run| run["status"] = Value::Null);
    let armed = run(|run| run["status"]["exceptions"] = json!([]));
    let more = run(|run| run["status"]["ledger"]["matched"] = json!(300_000));
    let done = run(|run| finish(run, "Completed", "every step was done"));
    let mut lines = changes(None, &first);
    for (before, after) in [(&first, &armed), (&armed, &more), (&more, &more), (&more, &done)] {
        lines.extend(changes(Some(before), after));
    }
    assert_data_eq!(
        plain(&lines),
        str![[r#"
slow-payments-7k2: no controller has taken it up yet
step slow: running until 2026-11-28T10:14:00Z
4/6 armed, 1 waiting, 1 refused
2 pods: taken by kubectl-annotate (such as shop/web-0)
matched 204,411  injected 91,823  spared 112,588
Completed: every step was done
"#]]
    );
}

#[test]
fn plans() {
    let can = run(|run| {
        finish(
            run,
            "Planned",
            "slow would break 6 pods, of 12 selected, on 3 nodes; lossy would break 6 pods",
        );
        run["spec"]["mode"] = json!("Plan");
    });
    assert_data_eq!(
        plain(&planned(&can, 100)),
        str![[r#"
can be done  nothing was touched

targets
12 ready pods selected in namespace shop; 6 picked for the first step, on 3 nodes
1 of them cannot be armed
web  {"pick":"50%","pods":{"matchLabels":{"app":"web"}},"replaced":"Follow"}

steps
slow   6 pods  delay $(latency) egress tcp to 10.96.0.12 for 5m on web
rest           wait 1m
lossy  0 pods  drop 1% egress tcp for 2m on web

limits
disruptionBudgets: Respect
duration: 15m
targets: 20

exceptions
2 pods  taken by kubectl-annotate (such as shop/web-0)
"#]]
    );
    let refused = run(|run| {
        finish(
            run,
            "Refused",
            "limits.duration: the steps take 8m, and 5m are allowed; step slow: 1 of 6 picked pods cannot be armed (see exceptions)",
        );
        run["spec"]["mode"] = json!("Plan");
        run["status"]["exceptions"] = json!([{ "count": 1, "message": "no agent runs on node node-c", "example": "shop/web-9" }]);
    });
    assert_data_eq!(
        plain(&planned(&refused, 100)),
        str![[r#"
is refused  nothing was touched
✗  limits.duration: the steps take 8m, and 5m are allowed
✗  step slow: 1 of 6 picked pods cannot be armed (see exceptions)

targets
12 ready pods selected in namespace shop; 6 picked for the first step, on 3 nodes
1 of them cannot be armed
web  {"pick":"50%","pods":{"matchLabels":{"app":"web"}},"replaced":"Follow"}

steps
slow   6 pods  delay $(latency) egress tcp to 10.96.0.12 for 5m on web
rest           wait 1m
lossy  0 pods  drop 1% egress tcp for 2m on web

limits
disruptionBudgets: Respect
duration: 15m
targets: 20

exceptions
1 pod  no agent runs on node node-c (such as shop/web-9)
"#]]
    );
}

#[test]
fn runs_in_a_table() {
    let done = run(|run| {
        run["metadata"]["name"] = json!("slow-payments-4fd");
        run["metadata"]["creationTimestamp"] = json!("2026-11-26T10:08:54Z");
        finish(run, "Refused", "target web: no ready pod of namespace shop is selected\nmore");
    });
    let inline = run(|run| {
        run["metadata"]["name"] = json!("web-drop-x");
        run["spec"] = json!({ "inline": spec(), "mode": "Shadow", "halt": true });
    });
    let runs = [run(|_| {}), done, inline];
    assert_data_eq!(
        plain(&list(&runs, true, now(), 140)),
        str![[r#"
NAMESPACE  NAME               EXPERIMENT     MODE    STATE    TARGETS  INJECTED  LEFT   AGE  MESSAGE
shop       slow-payments-4fd  slow-payments  armed   Refused  4/6      91,823    2m52s  2d   target web: no ready pod of namespace shop is
                                                                                             selected
shop       slow-payments-7k2  slow-payments  armed   Running  4/6      91,823    2m52s  2m
shop       web-drop-x         inline         shadow  Halting  4/6      91,823    2m52s  2m
"#]]
    );
}
