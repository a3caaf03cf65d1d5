//! How reports look, whole.

use chaos_api::kinds::Run;
use serde_json::{Value, json};
use snapbox::{Assert, Data, assert_data_eq, file};

use super::*;
use crate::printable::Printable;

/// A Run whose probe broke while pods were broken.
fn deviated() -> Value {
    json!({
        "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "slow-payments-7k2", "namespace": "shop", "creationTimestamp": "2026-11-28T10:08:40Z" },
        "spec": { "experiment": "slow-payments" },
        "status": {
            "phase": "Finished", "reason": "ProbeBroke", "message": "probe checkout failed: 500, 1.2s",
            "verdict": "Confirmed", "verdictReason": "AllInjected", "verdictMessage": "6 of 6 pods were armed, and 20.1% of 91,823 events were hit",
            "hypothesis": "Deviated", "hypothesisReason": "ProbeBroke", "hypothesisMessage": "probe checkout failed while pods were broken: 500, 1.2s",
            "spec": {
                "hypothesis": "Checkout stays under its SLO while payments answers late",
                "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": "50%" } },
                "probes": [
                    { "name": "checkout", "http": { "url": "http://web.shop/checkout" }, "expect": "status == 200 && latency < duration('800ms')" },
                    { "name": "errors", "prometheus": { "query": "sum(rate(errors[1m]))" }, "expect": "value <= baseline * 2.0", "during": "Record" },
                ],
                "steps": [
                    { "name": "warm-up", "wait": { "for": "10s" } },
                    { "name": "slow", "fault": { "target": "web", "do": "delay 200ms egress tcp to @payments", "for": "1m" } },
                    { "name": "kill", "pods": { "target": "web", "action": "Delete" }, "if": "probes.errors.ok" },
                ],
            },
            "steps": [
                { "name": "warm-up", "phase": "Done", "started": "2026-11-28T10:09:00Z", "ends": "2026-11-28T10:09:10Z" },
                { "name": "slow", "phase": "Failed", "started": "2026-11-28T10:09:10Z", "ends": "2026-11-28T10:10:10Z", "picked": 6,
                  "ledger": { "matched": 91823, "injected": 18456, "shadowed": 0, "spared": 73367, "lost": 0 }, "evidence": { "armed": 6 } },
                { "name": "kill", "phase": "Pending" },
            ],
            "probes": [
                { "name": "checkout", "state": "Pass", "checks": 14, "failed": 3, "errors": 0, "broke": 1, "last": "200, 48ms",
                  "worst": "500, 1.2s", "value": 0.048, "baseline": 0.05 },
                { "name": "errors", "state": "Pass", "checks": 9, "failed": 1, "last": "0.012", "worst": "0.2", "value": 0.012, "baseline": 0.0101 },
            ],
            "summary": { "targets": "6/6" },
            "targets": { "selected": 12, "nodes": 3, "armed": 0, "waiting": 0, "refused": 0, "ended": 6 },
            "ledger": { "matched": 91823, "injected": 18456, "shadowed": 0, "spared": 73367, "lost": 0 },
            "exceptions": [{ "count": 1, "message": "taken by kubectl-annotate", "example": "shop/web-9" }],
            "report": "slow-payments-7k2-report",
            "conditions": [{ "type": "Finished", "status": "True", "reason": "ProbeBroke", "message": "", "lastTransitionTime": "2026-11-28T10:10:00Z" }],
        },
    })
}

/// What the controller has written beside it.
fn lines() -> String {
    let mut lines = Vec::new();
    let values = [0.05, 0.048, 0.052, 0.051, 0.047, 0.26, 0.3, 0.28, 1.2, 0.9, 0.31, 0.06, 0.048];
    for (index, value) in values.into_iter().enumerate() {
        let outcome = if value > 0.8 { "Fail" } else { "Pass" };
        let status = if value > 0.8 { 500 } else { 200 };
        lines.push(json!({ "kind": "sample", "at": format!("2026-11-28T10:{:02}:{:02}Z", 8 + (45 + index * 5) / 60, (45 + index * 5) % 60),
            "probe": "checkout", "outcome": outcome, "value": value, "seen": format!("{status}, {:.0}ms", value * 1e3) }));
    }
    lines.push(json!({ "kind": "sample", "at": "2026-11-28T10:09:50Z", "probe": "checkout", "outcome": "Fail", "seen": "connection refused" }));
    for (index, value) in [0.0101, 0.0098, 0.2, 0.012].into_iter().enumerate() {
        lines.push(json!({ "kind": "sample", "at": format!("2026-11-28T10:09:{:02}Z", index * 15), "probe": "errors",
            "outcome": if value > 0.1 { "Fail" } else { "Pass" }, "value": value, "seen": value.to_string() }));
    }
    for (at, what, step, message) in [
        ("10:08:45", "Baseline", None, "the probes are asked before anything is broken"),
        ("10:09:00", "StepStarted", Some("warm-up"), "step warm-up"),
        ("10:09:10", "StepStarted", Some("slow"), "step slow: 6 pods are picked"),
        ("10:09:25", "ProbeBroke", None, "probe checkout: 500, 1.2s"),
        ("10:09:26", "StepFailed", Some("slow"), "step slow"),
        ("10:10:00", "Halted", None, "probe checkout failed: 500, 1.2s"),
    ] {
        lines.push(json!({ "kind": "event", "at": format!("2026-11-28T{at}Z"), "what": what, "step": step, "message": message }));
    }
    for (pod, state, refusal) in [
        ("web-0", "Ended", None),
        ("web-1", "Ended", None),
        ("web-9", "Refused", Some("taken by kubectl-annotate")),
    ] {
        lines.push(json!({ "namespace": "shop", "pod": pod, "uid": pod, "node": "node-a", "step": "slow", "state": state,
            "matched": 15303, "injected": 3076, "shadowed": 0, "spared": 12227, "lost": 0, "refusal": refusal }));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn report(run: Value, lines: &str) -> Report {
    let run: Run = serde_json::from_value(run).unwrap();
    Report::of(&Printable::of(&run).unwrap(), Lines::read(lines), Vec::new())
}

/// A Run of an older controller that was done.
fn confirmed() -> Value {
    let mut run = deviated();
    run["metadata"]["name"] = json!("slow-payments-4fd");
    let status = &mut run["status"];
    status["reason"] = json!("Completed");
    status["message"] = json!("every step was done");
    for field in ["hypothesis", "hypothesisReason", "hypothesisMessage", "probes", "report"] {
        status.as_object_mut().unwrap().remove(field);
    }
    status["spec"].as_object_mut().unwrap().remove("probes");
    for step in 0..3 {
        status["steps"][step]["phase"] = json!("Done");
    }
    run
}

/// Every string is one that some form would take for markup, or a terminal would obey.
fn hostile() -> Report {
    const HOSTILE: &str =
        "</td><script>alert(1)</script>]]>\u{1b}[2J\u{202e}|x|`*&\"'\n# x\u{ffff}";
    let run = change(deviated(), HOSTILE);
    let lines: String = lines()
        .lines()
        .map(|line| format!("{}\n", change(serde_json::from_str(line).unwrap(), HOSTILE)))
        .collect();
    let mut report = report(run, &lines);
    report.notes = vec![crate::printable::printable(HOSTILE)];
    report
}

/// Puts a text behind every string that nothing goes by.
fn change(value: Value, text: &str) -> Value {
    const MEANT: [&str; 22] = [
        "apiVersion",
        "kind",
        "at",
        "phase",
        "reason",
        "verdict",
        "verdictReason",
        "hypothesisReason",
        "started",
        "ends",
        "state",
        "during",
        "action",
        "status",
        "lastTransitionTime",
        "creationTimestamp",
        "outcome",
        "type",
        "probe",
        "what",
        "pick",
        "name",
    ];
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let is_judgement = key == "hypothesis"
                    && ["Held", "Deviated", "Unknown"].iter().any(|word| value == *word);
                match value {
                    Value::String(word) if !MEANT.contains(&key.as_str()) && !is_judgement => {
                        (key, json!(format!("{word}{text}")))
                    }
                    Value::String(word) => (key, json!(word)),
                    other => (key, change(other, text)),
                }
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| change(item, text)).collect(),
        other => other,
    }
}

fn assert_is(text: &str, expected: Data) {
    Assert::new()
        .action_env("SNAPSHOTS")
        .eq(Data::text(format!("{}\n", text.trim_end())), expected.raw());
}

fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn each_form_of_a_run_that_deviated() {
    let report = report(deviated(), &lines());
    assert_is(&markdown(&report), file!["golden/deviated.md"]);
    assert_is(&page(&report), file!["golden/deviated.html"]);
    assert_is(&json_of(&report), file!["golden/deviated.json"]);
    assert_is(&junit(&report), file!["golden/deviated.xml"]);
}

#[test]
fn a_shadow_run_has_the_counts_of_its_mode() {
    let mut run = deviated();
    run["spec"]["mode"] = json!("Shadow");
    for ledger in ["/status/ledger", "/status/steps/1/ledger"] {
        let ledger = run.pointer_mut(ledger).unwrap();
        (ledger["injected"], ledger["shadowed"]) = (json!(0), json!(18_457));
    }
    let report = report(run, &lines());
    for text in [markdown(&report), page(&report)] {
        assert!(text.contains("Shadowed") && text.contains("18,457"), "{text}");
        assert!(!text.contains("| Injected |") && !text.contains(">Injected<"), "{text}");
    }
}

#[test]
fn a_step_ends_with_its_run() {
    let mut run = deviated();
    run["status"]["steps"][1]["ends"] = json!("2026-11-28T10:20:00Z");
    let report = report(run, "");
    assert_eq!(report.steps[1].ended, report.ended);
}

#[test]
fn a_run_of_an_older_controller_has_a_report_too() {
    let report = report(confirmed(), "");
    assert_is(&markdown(&report), file!["golden/confirmed.md"]);
    assert_is(&junit(&report), file!["golden/confirmed.xml"]);
    let pending = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "new", "namespace": "shop" }, "spec": { "experiment": "slow-payments" } });
    let pending = self::report(pending, "");
    assert_data_eq!(junit(&pending).matches("<skipped").count().to_string(), snapbox::str!["2"]);
    assert!(markdown(&pending).contains("Run shop/new: Pending"));
}

#[test]
fn two_runs_side_by_side() {
    let comparison = Comparison::of(&report(deviated(), &lines()), &report(confirmed(), ""));
    assert_is(&comparison.markdown(), file!["golden/comparison.md"]);
    let same = Comparison::of(&report(confirmed(), ""), &report(confirmed(), ""));
    assert!(
        same.rows.iter().all(|row| !row.differs) && same.markdown().contains("0 things differ")
    );
    assert!(comparison_page(&comparison).contains("<tr class=\"differs\"><td>hypothesis"));
}

#[test]
fn strings_of_strangers_are_text_in_each_form() {
    let report = hostile();
    let comparison = Comparison::of(&report, &report);
    let pages = [page(&report), comparison_page(&comparison), junit(&report)];
    let texts = [markdown(&report), comparison.markdown()];
    for text in pages.iter().chain(&texts) {
        let is_obeyed =
            |c: char| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{ffff}');
        assert!(!text.contains(is_obeyed), "{text}");
    }
    for text in &pages {
        assert!(!text.contains("<script") && !text.contains("]]>"), "{text}");
    }
    for text in &texts {
        // The text has a backtick, so that code is between two.
        let text = text.replace("\\`", "");
        let outside_code: Vec<&str> = text.split("``").step_by(2).collect();
        assert!(outside_code.iter().all(|part| !part.contains("<script")), "{text}");
        assert!(text.lines().filter(|line| line.starts_with("# ")).count() == 1, "{text}");
    }
    assert!(page(&report).contains("default-src 'none'"));
    // XML that another reader takes for the same text.
    let document = junit(&report);
    let document = roxmltree::Document::parse(&document).unwrap();
    let is_claim = |node: &roxmltree::Node<'_, '_>| {
        node.has_tag_name("testcase") && node.attribute("name") == Some("hypothesis")
    };
    let claim = document.descendants().find(is_claim);
    let failure = claim.and_then(|case| case.first_element_child()).unwrap();
    assert!(failure.attribute("message").unwrap().contains("<script>alert(1)</script>]]>"));
}

/// The form that Jenkins, GitLab and GitHub's actions read: <https://github.com/testmoapp/junitxml>.
#[test]
fn junit_has_the_form_that_readers_know() {
    for (report, failures, errors, skipped) in [
        (report(deviated(), &lines()), 2, 0, 2),
        (report(confirmed(), ""), 0, 0, 1),
        (hostile(), 2, 0, 2),
    ] {
        let text = junit(&report);
        let document = roxmltree::Document::parse(&text).unwrap();
        let suites = document.root_element();
        assert_eq!(suites.tag_name().name(), "testsuites");
        let suite = suites.first_element_child().unwrap();
        for name in ["name", "timestamp", "hostname", "tests", "failures", "errors", "time"] {
            assert!(suite.has_attribute(name), "{name}: {text}");
        }
        let names: Vec<&str> = suite
            .children()
            .filter(|node| node.is_element())
            .map(|node| node.tag_name().name())
            .collect();
        let cases = names.iter().filter(|name| **name == "testcase").count();
        let expected: Vec<&str> = std::iter::once("properties")
            .chain(std::iter::repeat_n("testcase", cases))
            .chain(["system-out", "system-err"])
            .collect();
        assert_eq!(names, expected);
        let count =
            |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
        let said = |name: &str| suite.attribute(name).unwrap().parse::<usize>().unwrap();
        assert_eq!(
            (said("tests"), said("failures"), said("errors")),
            (cases, count("failure"), count("error"))
        );
        assert_eq!(
            (said("failures"), said("errors"), said("skipped")),
            (failures, errors, skipped),
            "{text}"
        );
        for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
            assert!(
                case.attribute("time").unwrap().parse::<f64>().is_ok()
                    && case.has_attribute("classname")
            );
            let results: Vec<_> = case.children().filter(|node| node.is_element()).collect();
            assert!(results.len() <= 1);
            assert!(results.iter().all(|node| node.has_attribute("message")));
        }
    }
}
