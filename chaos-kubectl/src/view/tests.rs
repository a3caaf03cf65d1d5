//! How Runs look, whole.

use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::*;
use crate::{printable::Printable, removable::Removable};

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
fn run(change: impl FnOnce(&mut Value)) -> Printable<Run> {
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
    Printable::of(&serde_json::from_value::<Run>(run).unwrap()).unwrap()
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
step slow: running until 2026-11-28T10:14:00Z, delay $(latency) egress tcp to 10.96.0.12 for 5m on web
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
        plain(&planned(&can, &[], 100)),
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
        plain(&planned(&refused, &[], 100)),
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
shop       slow-payments-4fd  slow-payments  armed   Refused  4/6      91,823           2d   target web: no ready pod of namespace shop is
                                                                                             selected more
shop       slow-payments-7k2  slow-payments  armed   Running  4/6      91,823    2m52s  2m
shop       web-drop-x         inline         shadow  Halting  4/6      91,823    2m52s  2m
"#]]
    );
}

/// A Run in the middle of a step that removes pods, with probes.
fn removing(change: impl FnOnce(&mut Value)) -> Printable<Run> {
    run(|run| {
        let url = json!({ "url": "http://web.shop/checkout" });
        run["status"]["spec"]["probes"] = json!([{ "name": "checkout", "http": url, "expect": "status == 200" },
            { "name": "errors", "prometheus": { "query": "rate(errors[1m])" }, "expect": "value < 0.1" }]);
        run["status"]["spec"]["steps"][0] = json!({ "name": "slow", "pods": { "target": "web", "action": "Evict", "gracePeriod": "5s" } });
        run["status"]["spec"]["steps"][1] = json!({ "name": "rest", "check": { "probes": ["checkout"], "for": "10s" }, "if": "probes.errors.ok" });
        run["status"]["steps"][0]["evidence"]["armed"] = json!(4);
        run["status"]["steps"][0]["ledger"]["matched"] = json!(0);
        run["status"]["ledger"]["matched"] = json!(0);
        run["status"]["targets"] = json!({ "selected": 12, "nodes": 3, "armed": 0, "waiting": 1, "refused": 1, "ended": 4 });
        run["status"]["probes"] = json!([
            { "name": "checkout", "state": "Pass", "checks": 60, "failed": 1, "last": "200, 231ms", "value": 0.231, "baseline": 0.048 },
            { "name": "errors", "state": "Error", "checks": 12, "errors": 2, "last": "no data", "baseline": 0.0312 },
        ]);
        change(run);
    })
}

#[test]
fn pods_that_are_removed_and_probes() {
    assert_data_eq!(
        plain(&frame(&removing(|_| {}), now(), 120)),
        str![[r#"
shop/slow-payments-7k2  Running  slow-payments, armed

▶ slow   2m52s left  4 of 6 removed  evict pods of web, 5s to end
· rest   pending                     check that checkout holds for 10s, if probes.errors.ok
· lossy  pending                     drop 1% egress tcp for 2m on web

targets  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒░░░░░░  4/6 removed  1 waiting  1 refused  of 12 selected, on 3 nodes

probes
✓ checkout  pass   231ms (was 48ms)  1/60 failed            200, 231ms
? errors    error  (was 0.0312)      0/12 failed, 2 errors  no data

exceptions
2 pods  taken by kubectl-annotate (such as shop/web-0)
"#]]
    );
    let done = removing(|run| {
        finish(run, "Completed", "every step was done");
        run["status"]["verdict"] = json!("Confirmed");
        run["status"]["verdictReason"] = json!("AllInjected");
        run["status"]["verdictMessage"] = json!("6 of 6 pods were removed");
        run["status"]["hypothesis"] = json!("Held");
        run["status"]["hypothesisReason"] = json!("AllHeld");
        run["status"]["hypothesisMessage"] = json!("2 probes held before, during and after");
        run["status"]["probes"][1]["state"] = json!("Pass");
    });
    let first = removing(|run| run["status"]["phase"] = json!("Baseline"));
    let mut lines = changes(None, &first);
    lines.extend(changes(Some(&first), &removing(|_| {})));
    lines.extend(changes(Some(&removing(|_| {})), &done));
    assert_data_eq!(
        plain(&lines),
        str![[r#"
step slow: running until 2026-11-28T10:14:00Z, evict pods of web, 5s to end
4/6 removed, 1 waiting, 1 refused
probe checkout: pass after 60 checks (200, 231ms)
probe errors: error after 12 checks (no data)
2 pods: taken by kubectl-annotate (such as shop/web-0)
the probes are asked before anything is broken
probe errors: pass after 12 checks (no data)
Completed: every step was done
verdict: Confirmed (AllInjected), 6 of 6 pods were removed
hypothesis: Held (AllHeld), 2 probes held before, during and after
"#]]
    );
}

#[test]
fn a_plan_names_the_pods_that_it_may_remove() {
    let planned_run = removing(|run| {
        finish(run, "Planned", "slow would evict 6 pods");
        run["spec"]["mode"] = json!("Plan");
        run["status"]["exceptions"] = json!([]);
        run["status"]["targets"]["refused"] = json!(0);
    });
    let removable = Removable {
        step: "slow".to_owned(),
        picked: 6,
        pods: (0..14).map(|number| format!("web-{number}")).collect(),
        is_narrower: true,
        budgets: vec![
            "PodDisruptionBudget web lets 1 pod go now: 2 of 3 are healthy, and 1 must be"
                .to_owned(),
        ],
        unknown: Vec::new(),
    };
    let all = Removable {
        pods: vec!["web-0".to_owned()],
        picked: 1,
        is_narrower: false,
        ..removable.clone()
    };
    let removable = [removable, all].map(|one| Printable::of(&one).unwrap());
    assert_data_eq!(
        plain(&planned(&planned_run, &removable, 100)),
        str![[r#"
can be done  nothing was touched

targets
12 ready pods selected in namespace shop; 6 picked for the first step, on 3 nodes
web  {"pick":"50%","pods":{"matchLabels":{"app":"web"}},"replaced":"Follow"}

steps
slow   6 pods  evict pods of web, 5s to end
rest           check that checkout holds for 10s, if probes.errors.ok
lossy  0 pods  drop 1% egress tcp for 2m on web

removed by step slow
6 of 14 pods that the labels select, and of fewer by the target's other fields; others in each Run:
web-0, web-1, web-2, web-3, web-4, web-5, web-6, web-7, web-8, web-9, web-10, web-11 and 2 more
PodDisruptionBudget web lets 1 pod go now: 2 of 3 are healthy, and 1 must be

removed by step slow
web-0
PodDisruptionBudget web lets 1 pod go now: 2 of 3 are healthy, and 1 must be

limits
disruptionBudgets: Respect
duration: 15m
targets: 20
"#]]
    );
}

/// Every string is one that a terminal would obey.
#[test]
fn strings_of_strangers_change_no_terminal() {
    const HOSTILE: &str = "x\u{1b}[2J\u{9b}1A\u{202e}\ny";
    let hostile = removing(|run| {
        run["metadata"]["annotations"] = json!({ HALT_REASON: HOSTILE });
        run["spec"]["experiment"] = json!(HOSTILE);
        finish(run, "Halted", HOSTILE);
        let status = &mut run["status"];
        for part in ["verdictMessage", "hypothesisMessage"] {
            status[part] = json!(HOSTILE);
        }
        status["verdict"] = json!("Confirmed");
        status["verdictReason"] = json!("AllInjected");
        status["hypothesis"] = json!("Held");
        status["hypothesisReason"] = json!("AllHeld");
        status["summary"]["targets"] = json!(HOSTILE);
        status["exceptions"] = json!([{ "count": 2, "message": HOSTILE, "example": HOSTILE }]);
        status["probes"][0]["last"] = json!(HOSTILE);
        status["probes"][1]["name"] = json!(HOSTILE);
        status["steps"][0]["name"] = json!(HOSTILE);
        status["spec"]["steps"][0]["name"] = json!(HOSTILE);
        status["spec"]["steps"][2]["fault"]["do"] = json!(HOSTILE);
        status["spec"]["steps"][1]["if"] = json!(HOSTILE);
    });
    let removable = Removable {
        step: HOSTILE.to_owned(),
        picked: 1,
        pods: vec![HOSTILE.to_owned()],
        is_narrower: false,
        budgets: vec![HOSTILE.to_owned()],
        unknown: vec![HOSTILE.to_owned()],
    };
    let removable = [Printable::of(&removable).unwrap()];
    let rendered = [
        frame(&hostile, now(), 100),
        changes(None, &hostile),
        list(std::slice::from_ref(&hostile), true, now(), 100),
        planned(&hostile, &removable, 100),
    ];
    for lines in rendered {
        let text = plain(&lines);
        assert!(text.contains("x\u{fffd}"), "{text:?}");
        let is_obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(is_obeyed), "{text:?}");
    }
    // What goes into a log is one line each: none can be forged.
    assert!(changes(None, &hostile).iter().all(|line| !line.contains('\n')));
}

#[test]
fn runs_that_go_on_with_one_of_them_chosen() {
    let failing = removing(|run| {
        run["status"]["probes"][1]["state"] = json!("Fail");
        run["status"]["probes"][1]["value"] = json!(0.2);
    });
    let shadow = run(|run| {
        run["metadata"]["name"] = json!("web-drop-x");
        run["spec"] = json!({ "inline": spec(), "mode": "Shadow" });
        run["status"]["steps"][0]["ledger"]["shadowed"] = json!(1280);
        run["status"]["ledger"]["shadowed"] = json!(1280);
    });
    let going = [Going { run: failing, rate: Some(305.7) }, Going { run: shadow, rate: None }];
    let mut lines = vec![sums(&going, "the cluster")];
    lines.extend(top(&going, true, Some(1), now(), 140));
    lines.extend(top(&[], true, None, now(), 140));
    assert_data_eq!(
        plain(&lines),
        str![[r#"
2 Runs in the cluster, 4 pods armed, 1 with a probe that fails
   NAMESPACE  NAME               EXPERIMENT     STATE    TARGETS  INJECTED  PER S  LEFT   WORST PROBE
   shop       slow-payments-7k2  slow-payments  Running  4/6      91,823    306    2m52s  errors fail 0.2 (was 0.0312)
▶  shop       web-drop-x         inline         Running  4/6      1,280     ~10    2m52s
no Run goes on
"#]]
    );
}

#[test]
fn a_low_terminal_shows_the_chosen_run_and_what_the_keys_do() {
    let table = || {
        let rows = (0..9).map(|row| format!("row {row}"));
        std::iter::once("HEADING".to_owned()).chain(rows).collect::<Vec<_>>()
    };
    let shown = |chosen, height| {
        let footer = "halt shop/x? y halts it".to_owned();
        plain(&screenful("9 Runs".to_owned(), table(), footer, Some(chosen), height))
    };
    assert_eq!(shown(0, 6), "9 Runs, 1 to 2 shown\nHEADING\nrow 0\nrow 1\nhalt shop/x? y halts it");
    assert_eq!(shown(5, 6), "9 Runs, 5 to 6 shown\nHEADING\nrow 4\nrow 5\nhalt shop/x? y halts it");
    assert_eq!(shown(8, 6), "9 Runs, 8 to 9 shown\nHEADING\nrow 7\nrow 8\nhalt shop/x? y halts it");
    assert_eq!(shown(8, 4), "HEADING\nrow 8\nhalt shop/x? y halts it");
    assert_eq!(
        shown(0, 15),
        format!("9 Runs\n\n{}\n\nhalt shop/x? y halts it", table().join("\n"))
    );
    // Whatever the height, the screen has room for all of it, and the chosen row is there.
    for height in 4..20 {
        for chosen in 0..9 {
            let text = shown(chosen, height);
            assert!(text.lines().count() < height, "{height} {chosen}: {text}");
            assert!(text.contains(&format!("row {chosen}\n")), "{height} {chosen}: {text}");
        }
    }
}
