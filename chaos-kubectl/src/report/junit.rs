//! Writes a report as JUnit's XML, which CI systems read: a test case for the verdict, the hypothesis, each probe and each
//! step. A failure is something else than was asked for; an error is what nobody can tell.

use chaos_api::kinds::{Hypothesis, Mode, RunPhase, StepPhase, Verdict};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, PreEscaped, html};

use super::{
    model::{Judged, ProbeReport, Report, StepReport},
    words,
};

/// What came of a test case.
enum Outcome {
    Pass,
    Failure { type_: String, message: String },
    Error { type_: String, message: String },
    Skipped(String),
}

struct Case {
    name: String,
    lasted: Option<SignedDuration>,
    outcome: Outcome,
    /// What a reader of the log wants to know.
    output: Vec<String>,
}

/// The whole report.
pub fn junit(report: &Report) -> String {
    let cases = cases(report);
    let number = |is: fn(&Outcome) -> bool| cases.iter().filter(|case| is(&case.outcome)).count();
    let failures = number(|outcome| matches!(outcome, Outcome::Failure { .. }));
    let errors = number(|outcome| matches!(outcome, Outcome::Error { .. }));
    let skipped = number(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let class =
        format!("{}.{}", report.namespace, report.experiment.as_deref().unwrap_or(&report.name));
    // Some readers know no time zone: it is that of UTC.
    let begun = report.started.map_or_else(
        || "1970-01-01T00:00:00".to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
    );
    let summary = words::summary(report);
    let properties =
        summary.iter().map(|(name, value)| (name.to_lowercase().replace(' ', "-"), value));
    let document = html! {
        testsuites { (line())
            testsuite id="0" package=(report.namespace) name=(report.title()) hostname="localhost"
                timestamp=(begun) time=(seconds(report.lasted())) tests=(cases.len()) failures=(failures)
                errors=(errors) skipped=(skipped) { (line())
                properties { (line())
                    @for (name, value) in properties { property name=(name) value=(value) {} (line()) }
                } (line())
                @for case in &cases { (self::case(case, &class)) (line()) }
                system-out { (log(report)) } (line())
                system-err { (report.notes.join("\n")) } (line())
            } (line())
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", document.into_string())
}

fn line() -> Markup {
    PreEscaped("\n".to_owned())
}

fn case(case: &Case, class: &str) -> Markup {
    html! {
        testcase classname=(class) name=(case.name) time=(seconds(case.lasted)) {
            @match &case.outcome {
                Outcome::Pass => {}
                Outcome::Failure { type_, message } => {
                    failure type=(type_) message=(message) { (case.output.join("\n")) }
                }
                Outcome::Error { type_, message } => {
                    error type=(type_) message=(message) { (case.output.join("\n")) }
                }
                Outcome::Skipped(message) => { skipped message=(message) {} }
            }
        }
    }
}

fn cases(report: &Report) -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "verdict".to_owned(),
            lasted: report.lasted(),
            outcome: verdict(report),
            output: vec![report.message.clone()],
        },
        Case {
            name: "hypothesis".to_owned(),
            lasted: report.lasted(),
            outcome: hypothesis(report),
            output: vec![report.hypothesis.text.clone()],
        },
    ];
    cases.extend(report.probes.iter().map(|one| probe(one, report)));
    cases.extend(report.steps.iter().map(|one| step(one, report)));
    cases
}

/// What nobody can tell yet, or was never to be told.
fn open(report: &Report) -> Option<Outcome> {
    match (report.phase, report.mode) {
        (Some(RunPhase::Finished), Mode::Shadow | Mode::Armed) => None,
        (Some(RunPhase::Finished), Mode::Plan) if report.exit_code == Some(0) => {
            Some(Outcome::Skipped("only a plan was asked for".to_owned()))
        }
        (Some(RunPhase::Finished), Mode::Plan) => None,
        (Some(RunPhase::Baseline | RunPhase::Running | RunPhase::Recovering) | None, _) => {
            Some(Outcome::Skipped("the Run goes on".to_owned()))
        }
    }
}

fn verdict(report: &Report) -> Outcome {
    let Judged { result, reason, message } = &report.verdict;
    let type_ = reason.map_or_else(|| report.state(), |reason| format!("{reason:?}"));
    let message = if message.is_empty() { report.message.clone() } else { message.clone() };
    match (open(report), result) {
        (Some(open), _) => open,
        (None, Some(Verdict::Confirmed)) => Outcome::Pass,
        (None, Some(Verdict::Mismatch)) => Outcome::Failure { type_, message },
        (None, Some(Verdict::Inconclusive) | None) => Outcome::Error { type_, message },
    }
}

fn hypothesis(report: &Report) -> Outcome {
    let Judged { result, reason, message } = &report.hypothesis.judged;
    let type_ = reason.map_or_else(|| report.state(), |reason| format!("{reason:?}"));
    let message = message.clone();
    match (open(report), result) {
        (Some(open), _) => open,
        (None, Some(Hypothesis::Held)) => Outcome::Pass,
        (None, Some(Hypothesis::Deviated)) => Outcome::Failure { type_, message },
        (None, Some(Hypothesis::Unknown)) => Outcome::Error { type_, message },
        (None, None) => Outcome::Skipped("there are no probes".to_owned()),
    }
}

fn probe(probe: &ProbeReport, report: &Report) -> Case {
    let message = probe.message.clone();
    let outcome = match (open(report), probe.result) {
        (Some(open), _) => open,
        (None, Hypothesis::Held) => Outcome::Pass,
        (None, Hypothesis::Deviated) => {
            Outcome::Failure { type_: "ProbeDeviated".to_owned(), message }
        }
        (None, Hypothesis::Unknown) => Outcome::Error { type_: "ProbeUnknown".to_owned(), message },
    };
    let mut output = vec![format!("question: {}", probe.question)];
    output.extend(probe.expect.iter().map(|expect| format!("expected: {expect}")));
    output.push(format!(
        "{} of {} checks failed, {} had no answer",
        probe.failed, probe.checks, probe.errors
    ));
    Case { name: format!("probe {}", probe.name), lasted: None, outcome, output }
}

fn step(step: &StepReport, report: &Report) -> Case {
    let lasted = step.started.zip(step.ended).map(|(from, to)| to.duration_since(from));
    let outcome = match (open(report), step.phase) {
        (Some(open), _) => open,
        (None, StepPhase::Done) => Outcome::Pass,
        (None, StepPhase::Failed) => match &step.failure {
            Some(why) => Outcome::Failure { type_: "StepFailed".to_owned(), message: why.clone() },
            None => Outcome::Skipped(format!("cut short: {}", report.message)),
        },
        (None, StepPhase::Skipped) => Outcome::Skipped("its `if` did not hold".to_owned()),
        (None, StepPhase::Pending | StepPhase::Running) => {
            Outcome::Skipped("the Run ended before it".to_owned())
        }
    };
    Case { name: format!("step {}", step.name), lasted, outcome, output: vec![step.what.clone()] }
}

/// What happened, as a log.
fn log(report: &Report) -> String {
    let at = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let lines = report
        .timeline
        .iter()
        .map(|event| format!("{} {}: {}", at(event.at), event.what, event.message));
    lines.collect::<Vec<_>>().join("\n")
}

fn seconds(lasted: Option<SignedDuration>) -> String {
    format!("{:.3}", lasted.map_or(0.0, |lasted| lasted.as_secs_f64().max(0.0)))
}
