//! Makes the report of a Run of its status and of the lines beside it. Pure.

use std::collections::BTreeMap;

use chaos_api::kinds::{
    Condition, During, ExperimentSpec, Hypothesis, HypothesisReason, Mode, Probe, ProbeState,
    ProbeStatus, Reason, Run, RunPhase, RunStatus, StepPhase, StepStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{
    lines::{Event, Lines, Sample},
    model::{Claimed, Judged, ProbeReport, Report, SCHEMA, StepReport},
};
use crate::{
    exit::Exit,
    printable::{Printable, in_one_line},
    view::{halt_reason, in_words, is_time},
};

impl Report {
    /// The report of a Run. `notes` say what could not be read.
    pub fn of(run: &Printable<Run>, lines: Lines, notes: Vec<String>) -> Self {
        let run: &Run = run;
        let status = run.status.as_ref();
        let spec = status.and_then(|status| status.spec.as_ref()).or(run.spec.inline.as_ref());
        let ended = status.and_then(|status| transition(&status.conditions, "Finished"));
        let steps = status.iter().flat_map(|status| &status.steps);
        let steps: Vec<StepReport> =
            steps.map(|step| self::step(step, spec, status, ended, &lines.events)).collect();
        let mut samples: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for sample in lines.samples {
            samples.entry(sample.probe.clone()).or_default().push(sample);
        }
        let first = samples.values().flatten().map(|sample| sample.at).min();
        let started = steps.iter().filter_map(|step| step.started).chain(first).min();
        let probes = status.iter().flat_map(|status| &status.probes);
        let probes = probes.map(|probe| {
            let samples = samples.remove(&probe.name).unwrap_or_default();
            self::probe(probe, spec, status, run.spec.mode, samples)
        });
        let probes = probes.collect();
        let timeline = match lines.events.is_empty() {
            true => events(&steps, status, ended),
            false => lines.events.into_iter().map(|event| named(event, status)).collect(),
        };
        Self {
            schema: SCHEMA,
            namespace: run.namespace().unwrap_or_default(),
            name: run.name_any(),
            experiment: run.spec.experiment.clone(),
            mode: run.spec.mode,
            phase: status.map(|status| status.phase),
            reason: status.and_then(|status| status.reason),
            message: status.map(|status| status.message.clone()).unwrap_or_default(),
            halt_reason: halt_reason(run).map(str::to_owned),
            exit_code: Exit::of(run).map(Exit::code),
            started,
            ended,
            verdict: Judged {
                result: status.and_then(|status| status.verdict),
                reason: status.and_then(|status| status.verdict_reason),
                message: status.map(|status| status.verdict_message.clone()).unwrap_or_default(),
            },
            hypothesis: Claimed {
                text: spec.map(|spec| spec.hypothesis.clone()).unwrap_or_default(),
                judged: Judged {
                    result: status.and_then(|status| status.hypothesis),
                    reason: status.and_then(|status| status.hypothesis_reason),
                    message: status
                        .map(|status| status.hypothesis_message.clone())
                        .unwrap_or_default(),
                },
            },
            targets: status.map(|status| status.targets).unwrap_or_default(),
            ledger: status.map(|status| status.ledger).unwrap_or_default(),
            steps,
            probes,
            exceptions: status.map(|status| status.exceptions.clone()).unwrap_or_default(),
            timeline,
            pods: lines.pods,
            lines_cut: lines.cut,
            notes,
        }
    }
}

fn step(
    step: &StepStatus,
    spec: Option<&ExperimentSpec>,
    status: Option<&RunStatus>,
    run_ended: Option<Timestamp>,
    events: &[Event],
) -> StepReport {
    let deed = spec.and_then(|spec| spec.steps.iter().find(|one| one.name == step.name));
    let is_end = |event: &&Event| {
        event.step.as_ref() == Some(&step.name)
            && ["StepEnded", "StepFailed"].contains(&event.what.as_str())
    };
    let noted = events.iter().rfind(is_end).map(|event| event.at);
    // A step that was cut short was to end later than its Run.
    let planned = step.ends.as_ref().map(|ends| ends.0);
    let planned = planned.map(|ends| run_ended.map_or(ends, |ended| ends.min(ended)));
    let place = format!("step {}: ", step.name);
    let conditions = status.iter().flat_map(|status| &status.conditions);
    let mut failures = conditions.filter(|one| one.reason == "Failed");
    let failure = failures.find_map(|one| one.message.strip_prefix(&place).map(str::to_owned));
    StepReport {
        name: step.name.clone(),
        what: deed.map(in_words).unwrap_or_default(),
        phase: step.phase,
        failure: failure.filter(|_| step.phase == StepPhase::Failed),
        started: step.started.as_ref().map(|started| started.0),
        ended: noted.or(planned),
        removes: deed.is_some_and(|deed| deed.pods.is_some()),
        picked: step.picked,
        done: step.evidence.armed,
        ledger: step.ledger,
    }
}

fn probe(
    probe: &ProbeStatus,
    spec: Option<&ExperimentSpec>,
    status: Option<&RunStatus>,
    mode: Mode,
    samples: Vec<Sample>,
) -> ProbeReport {
    let asked = spec.and_then(|spec| spec.probes.iter().find(|one| one.name == probe.name));
    let during = asked.map(|asked| asked.during).unwrap_or_default();
    let (result, message) = judge(probe, during, status, mode);
    ProbeReport {
        name: probe.name.clone(),
        question: asked.map(question).unwrap_or_default(),
        expect: asked.and_then(|asked| asked.expect.as_deref()).map(in_one_line),
        during,
        result,
        message,
        state: probe.state,
        checks: probe.checks,
        failed: probe.failed,
        errors: probe.errors,
        broke: probe.broke,
        last: probe.last.clone(),
        worst: probe.worst.clone(),
        unit: if is_time(&probe.name, spec) { "s" } else { "" },
        value: probe.value,
        baseline: probe.baseline,
        samples,
    }
}

/// Whether a probe did as it was to, by the rules of the hypothesis.
fn judge(
    probe: &ProbeStatus,
    during: During,
    status: Option<&RunStatus>,
    mode: Mode,
) -> (Hypothesis, String) {
    let unknown = |why: &str| (Hypothesis::Unknown, why.to_owned());
    let deviated = |why: &str| (Hypothesis::Deviated, why.to_owned());
    let broken_before = status.and_then(|status| status.hypothesis_reason)
        == Some(HypothesisReason::BaselineBroken);
    let seen =
        |text: &str, otherwise: &str| in_one_line(if text.is_empty() { otherwise } else { text });
    let has_ended = status.is_none_or(|status| status.phase == RunPhase::Finished);
    let is_whole = status.and_then(|status| status.reason) == Some(Reason::Completed);
    match (probe.state, during) {
        (ProbeState::Unasked, _) => return unknown("it was not asked"),
        (ProbeState::Fail | ProbeState::Error, _) if broken_before => {
            return unknown(&format!(
                "before anything was broken: {}",
                seen(&probe.last, "it failed")
            ));
        }
        (_, During::Halt) if probe.broke > 0 => {
            return deviated(&format!(
                "while pods were broken: {}",
                seen(&probe.worst, "it failed")
            ));
        }
        (_, _) if !has_ended => return unknown("the Run goes on"),
        (ProbeState::Fail, _) => {
            return deviated(&format!("at the end: {}", seen(&probe.last, "it failed")));
        }
        (ProbeState::Error, _) => {
            return unknown(&format!("at the end: {}", seen(&probe.last, "no answer")));
        }
        (ProbeState::Pass, During::MustBreak) if probe.broke > 0 => {
            return (Hypothesis::Held, "it failed while pods were broken, as it had to".to_owned());
        }
        (ProbeState::Pass, During::MustBreak) if !is_whole => {
            return unknown("it had to fail, and the Run ended before its steps did");
        }
        // Where nothing is broken, nothing has to fail.
        (ProbeState::Pass, During::MustBreak) if mode == Mode::Armed => {
            return deviated("it had to fail while pods were broken, and did not");
        }
        (ProbeState::Pass, During::MustBreak) => {}
        (ProbeState::Pass, During::Halt | During::Record) => {}
    }
    if probe.errors > 0 {
        return unknown(&format!("without an answer {}", times(probe.errors)));
    }
    let message = match probe.failed {
        0 => "it held".to_owned(),
        failed => format!("it failed {}, and holds", times(failed)),
    };
    (Hypothesis::Held, message)
}

fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        number => format!("{number} times"),
    }
}

/// What a probe asks, in one line.
fn question(probe: &Probe) -> String {
    let question = if let Some(http) = &probe.http {
        let method = http.method.and_then(|method| serde_json::to_value(method).ok());
        let method = method.as_ref().and_then(|method| method.as_str()).unwrap_or("GET");
        format!("{method} {}", http.url)
    } else if let Some(tcp) = &probe.tcp {
        format!("connect to {}", tcp.address)
    } else if let Some(prometheus) = &probe.prometheus {
        prometheus.query.clone()
    } else if let Some(alerts) = &probe.alertmanager {
        format!("alerts {}", alerts.matchers.join(", "))
    } else if let Some(objects) = &probe.kubernetes {
        let labels = objects.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let labels = labels.collect::<Vec<_>>().join(",");
        format!("{} {}{labels}", objects.kind, objects.name.as_deref().unwrap_or_default())
    } else if let Some(ledger) = &probe.ledger {
        match &ledger.step {
            Some(step) => format!("ledger of step {step}"),
            None => "ledger of all steps".to_owned(),
        }
    } else {
        String::new()
    };
    in_one_line(&question)
}

/// An event, named by what it was: the controller calls every end before the last step a halt.
fn named(event: Event, status: Option<&RunStatus>) -> Event {
    match status.and_then(|status| status.reason) {
        Some(reason @ (Reason::ProbeBroke | Reason::ProbeBlind)) if event.what == "Halted" => {
            let message = format!("{reason:?}: {}", event.message);
            Event { what: "Ended".to_owned(), message, ..event }
        }
        Some(_) | None => event,
    }
}

/// What can be told of a Run whose report has no events.
fn events(
    steps: &[StepReport],
    status: Option<&RunStatus>,
    ended: Option<Timestamp>,
) -> Vec<Event> {
    let mut events = Vec::new();
    for step in steps {
        let event = |what: &str, at: Timestamp| Event {
            at,
            what: what.to_owned(),
            step: Some(step.name.clone()),
            message: step.what.clone(),
        };
        events.extend(step.started.map(|at| event("StepStarted", at)));
        let is_done = step.phase == StepPhase::Done;
        events.extend(step.ended.filter(|_| is_done).map(|at| event("StepEnded", at)));
    }
    if let (Some(status), Some(at)) = (status, ended)
        && status.phase == RunPhase::Finished
    {
        let what =
            status.reason.map_or_else(|| "Finished".to_owned(), |reason| format!("{reason:?}"));
        events.push(Event { at, what, step: None, message: status.message.clone() });
    }
    events.sort_by_key(|event| event.at);
    events
}

/// When a condition became true.
fn transition(conditions: &[Condition], type_: &str) -> Option<Timestamp> {
    let is_it = |one: &&Condition| one.type_ == type_ && one.status == "True";
    let Time(at) = &conditions.iter().find(is_it)?.last_transition_time;
    Some(*at)
}
