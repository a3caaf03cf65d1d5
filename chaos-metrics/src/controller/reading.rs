//! Makes metrics of what is known of a controller and of the runs that it leads. Pure.

use chaos_api::kinds::{ProbeStatus, RunPhase, RunStatus};
use kube::ResourceExt as _;

use super::{ControllerMeter, MOST, State, experiment};
use crate::{
    fold::Folded,
    metric::{Kind, Metric, Reading, Value},
};

static BUILD: Metric = Metric {
    name: "chaos_controller_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Always 1: which version of the controller runs.",
};
static LEADER: Metric = Metric {
    name: "chaos_controller_leader",
    kind: Kind::Gauge,
    labels: &[],
    help: "Whether this controller leads (1) or waits (0). Only who leads tells of runs.",
};
static ACTIVE: Metric = Metric {
    name: "chaos_run_active",
    kind: Kind::Gauge,
    labels: &["namespace", "experiment", "run", "mode"],
    help: "1 for each run that has begun and has not ended.",
};
static TARGETS: Metric = Metric {
    name: "chaos_run_targets",
    kind: Kind::Gauge,
    labels: &["namespace", "run", "state"],
    help: "Pods of the step that runs, or ran last, by what became of them.",
};
static PROBE_VALUE: Metric = Metric {
    name: "chaos_probe_value",
    kind: Kind::Gauge,
    labels: &["namespace", "experiment", "run", "probe"],
    help: "The number that a probe has seen last.",
};
static PROBE_CHECKS: Metric = Metric {
    name: "chaos_probe_checks_total",
    kind: Kind::Counter,
    labels: &["namespace", "experiment", "run", "probe", "result"],
    help: "Questions of a probe, by what came of them, as the status of its run has them.",
};
static PROBE_TOOK: Metric = Metric {
    name: "chaos_probe_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long probes took to answer, or not to.",
};
static ENDED: Metric = Metric {
    name: "chaos_runs_total",
    kind: Kind::Counter,
    labels: &["namespace", "experiment", "verdict", "hypothesis", "reason"],
    help: "Runs that have ended while this controller led.",
};
static HALTS: Metric = Metric {
    name: "chaos_halts_total",
    kind: Kind::Counter,
    labels: &["namespace", "cause"],
    help: "Runs that were ended before their time, by what has ended them.",
};
static ANNOTATED: Metric = Metric {
    name: "chaos_apply_requests_total",
    kind: Kind::Counter,
    labels: &["code"],
    help: "Changes of pods' annotations that were asked of the API server, by its answer.",
};
static FOLDED: Metric = Metric {
    name: "chaos_controller_series_folded",
    kind: Kind::Gauge,
    labels: &[],
    help: "Values that are summed under _other_, or left out, because there are too many series.",
};

pub fn reading(meter: &ControllerMeter) -> Reading {
    let state = meter.state();
    let mut reading = Reading::default();
    reading.put(&BUILD, [(vec![meter.version.to_owned()], Value::Number(1.0))]);
    reading.put_number(&LEADER, Some(f64::from(u8::from(state.leads))));
    let folded_of_runs = put_runs(&mut reading, &state);
    reading.put(&PROBE_TOOK, [(Vec::new(), Value::Distribution(meter.took.clone()))]);
    put_counts(&mut reading, &ENDED, &state.ended);
    put_counts(&mut reading, &HALTS, &state.halts);
    put_counts(&mut reading, &ANNOTATED, &state.annotated);
    let folded = [&state.ended, &state.halts, &state.annotated].map(Folded::folded);
    let folded = folded_of_runs + folded.into_iter().sum::<u64>();
    reading.put_number(&FOLDED, Some(folded as f64));
    reading
}

fn put_counts(reading: &mut Reading, metric: &'static Metric, counts: &Folded<u64>) {
    let counts = counts.iter().map(|(labels, count)| (labels.clone(), Value::Count(*count)));
    reading.put(metric, counts);
}

fn put_numbers(reading: &mut Reading, metric: &'static Metric, numbers: &Folded<f64>) {
    let numbers = numbers.iter().map(|(labels, number)| (labels.clone(), Value::Number(*number)));
    reading.put(metric, numbers);
}

/// What is said of the runs that go on, and of those that have ended not long ago; how many values were folded.
fn put_runs(reading: &mut Reading, state: &State) -> u64 {
    let (mut active, mut targets) = (Folded::new(MOST), Folded::new(MOST));
    let (mut values, mut checks) = (Folded::new(MOST), Folded::new(MOST));
    for run in &state.runs {
        let Some(status) = &run.status else { continue };
        if !state.active.contains_key(&run.uid().unwrap_or_default()) {
            continue;
        }
        let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
        let of_run = vec![namespace.clone(), experiment(run), name.clone()];
        if status.phase != RunPhase::Finished {
            active.add(with(&of_run, &[&format!("{:?}", run.spec.mode)]), 1.0);
            for (state, number) in by_state(status) {
                targets.add(vec![namespace.clone(), name.clone(), state.into()], f64::from(number));
            }
        }
        for probe in &status.probes {
            if let Some(value) = probe.value.filter(|_| status.phase != RunPhase::Finished) {
                values.add(with(&of_run, &[&probe.name]), value);
            }
            for (result, number) in by_result(probe) {
                checks.add(with(&of_run, &[&probe.name, result]), u64::from(number));
            }
        }
    }
    put_numbers(reading, &ACTIVE, &active);
    put_numbers(reading, &TARGETS, &targets);
    // A sum of what different probes have seen means nothing.
    let values_of_one = values.unfolded();
    let values_of_one = values_of_one.map(|(labels, one)| (labels.clone(), Value::Number(*one)));
    reading.put(&PROBE_VALUE, values_of_one);
    // Nor does one of what is there at the moment: it would fall when a run is over.
    let checks_of_one = checks.unfolded();
    let checks_of_one = checks_of_one.map(|(labels, one)| (labels.clone(), Value::Count(*one)));
    reading.put(&PROBE_CHECKS, checks_of_one);
    active.folded() + targets.folded() + values.folded() + checks.folded()
}

fn with(labels: &[String], more: &[&str]) -> Vec<String> {
    labels.iter().cloned().chain(more.iter().map(|one| (*one).to_owned())).collect()
}

fn by_state(status: &RunStatus) -> [(&'static str, u32); 5] {
    let targets = &status.targets;
    [
        ("selected", targets.selected),
        ("armed", targets.armed),
        ("waiting", targets.waiting),
        ("refused", targets.refused),
        ("ended", targets.ended),
    ]
}

fn by_result(probe: &ProbeStatus) -> [(&'static str, u32); 3] {
    let ProbeStatus { checks, failed, errors, .. } = probe;
    let passed = checks.saturating_sub(*failed).saturating_sub(*errors);
    [("pass", passed), ("fail", *failed), ("error", *errors)]
}
