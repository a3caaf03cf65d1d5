//! Makes metrics of what is known of an agent. Pure.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use chaos_api::{RefusalCause, clock::boot_now};
use jiff::Timestamp;

use super::AgentMeter;
use crate::{
    faults::{Faults, Labels, Told},
    metric::{Kind, Metric, Reading, Sample, Value},
};

static BUILD: Metric = Metric {
    name: "chaos_agent_build_info",
    kind: Kind::Gauge,
    labels: &["version", "kernel"],
    help: "Always 1: which version of the agent runs on which kernel.",
};
static FEATURE: Metric = Metric {
    name: "chaos_kernel_feature",
    kind: Kind::Gauge,
    labels: &["feature"],
    help: "Whether a hook, a backend for system calls or a delay line works on this kernel (1) or not (0).",
};
static EVENTS: Metric = Metric {
    name: "chaos_fault_events_total",
    kind: Kind::Counter,
    labels: &["namespace", "run", "fault", "target", "outcome"],
    help: "Events that a fault has matched, by what became of them.",
};
static SPARED: Metric = Metric {
    name: "chaos_fault_spared_total",
    kind: Kind::Counter,
    labels: &["namespace", "run", "fault", "target", "reason"],
    help: "Events that a fault has matched and spared, by the reason.",
};
static ARMED: Metric = Metric {
    name: "chaos_faults_armed",
    kind: Kind::Gauge,
    labels: &["namespace"],
    help: "Faults that are in the kernel and whose time is not over.",
};
static ENDS: Metric = Metric {
    name: "chaos_fault_end_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "run", "fault", "target"],
    help: "When a fault that is armed ends, on its last target.",
};
static MISSED: Metric = Metric {
    name: "chaos_calls_missed_limit_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Calls of targets that the kernel's programs may have missed: at most so many were neither failed nor counted.",
};
static TOOK: Metric = Metric {
    name: "chaos_arm_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long it took to arm a pod or a target, from the question to the keeper's answer.",
};
static REFUSALS: Metric = Metric {
    name: "chaos_refusals_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "How often faults of a pod or a target were refused, each try by itself.",
};
static LEASE_AGE: Metric = Metric {
    name: "chaos_kernel_lease_age_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "For how long the leases in the kernel have not been renewed; faults end when this exceeds the agent's lease.",
};
static SILENCE: Metric = Metric {
    name: "chaos_api_silence_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "For how long the API server has not been heard; missing while it never was.",
};
static GUARD_AGE: Metric = Metric {
    name: "chaos_guard_age_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "For how long the guard's Lease has not moved; missing where there is none.",
};
static FOLDED: Metric = Metric {
    name: "chaos_agent_series_folded_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Series of faults that were summed under _other_, because there were too many.",
};
static DROPPED: Metric = Metric {
    name: "chaos_ledgers_dropped_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Last ledgers that could not be kept: what they had counted since they were read before is missing above.",
};

/// One moment by both clocks.
pub struct Moment {
    pub wall: Timestamp,
    /// ns
    pub boot: u64,
}

impl Moment {
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), boot: boot_now() }
    }

    /// A moment of the boot clock in whole seconds since 1970: a fault's end does not move with each scrape.
    fn wall_seconds(&self, boot: u64) -> f64 {
        let ahead = i128::from(boot) - i128::from(self.boot);
        let second = (self.wall.as_nanosecond() + ahead) as f64 / 1e9;
        second.round()
    }
}

pub fn reading(meter: &AgentMeter, now: &Moment, lease_age: Duration) -> Reading {
    let mut reading = Reading::default();
    let build = vec![meter.version.to_owned(), meter.kernel.clone()];
    reading.put(&BUILD, [(build, Value::Number(1.0))]);
    let features = meter.features.iter();
    reading.put(
        &FEATURE,
        features
            .map(|(name, works)| (vec![name.clone()], Value::Number(f64::from(u8::from(*works))))),
    );
    put_faults(&mut reading, &meter.faults(), now);
    reading.put(&TOOK, [(Vec::new(), Value::Distribution(meter.took.clone()))]);
    let refusals = RefusalCause::ALL.into_iter().zip(&meter.refused);
    reading.put(
        &REFUSALS,
        refusals.map(|(cause, count)| {
            (vec![cause.name().to_owned()], Value::Count(count.load(Ordering::Relaxed)))
        }),
    );
    let age =
        |at: u64| (at > 0).then(|| Duration::from_nanos(now.boot.saturating_sub(at)).as_secs_f64());
    reading.put_number(&LEASE_AGE, Some(lease_age.as_secs_f64()));
    reading.put_number(&SILENCE, age(meter.heard.load(Ordering::Relaxed)));
    reading.put_number(&GUARD_AGE, age(meter.guard.load(Ordering::Relaxed)));
    reading
}

fn put_faults(reading: &mut Reading, faults: &Faults, now: &Moment) {
    let told: Vec<Told> = faults.series().collect();
    reading.put(&EVENTS, told.iter().flat_map(events));
    let spared = told.iter().flat_map(|told| {
        let spared = told.sums.spared.iter();
        spared.map(|(reason, number)| (labels(told.labels, Some(reason)), Value::Count(*number)))
    });
    reading.put(&SPARED, spared);
    let mut armed: BTreeMap<&str, usize> = BTreeMap::new();
    for told in &told {
        *armed.entry(&told.labels.namespace).or_default() += told.armed;
    }
    let armed = armed.into_iter();
    reading.put(
        &ARMED,
        armed.map(|(namespace, number)| (vec![namespace.to_owned()], Value::Number(number as f64))),
    );
    let ends = told.iter().filter_map(|told| {
        let ends = now.wall_seconds(told.ends?);
        Some((labels(told.labels, None), Value::Number(ends)))
    });
    reading.put(&ENDS, ends);
    for (metric, number) in
        [(&MISSED, faults.missed()), (&FOLDED, faults.times_folded()), (&DROPPED, faults.dropped())]
    {
        reading.put(metric, [(Vec::new(), Value::Count(number))]);
    }
}

/// Their sum is what was matched.
fn events(told: &Told<'_>) -> [Sample; 4] {
    let spared = told.sums.spared.values().sum();
    let by_outcome = [
        ("injected", told.sums.injected),
        ("shadowed", told.sums.shadowed),
        ("spared", spared),
        ("lost", told.sums.lost),
    ];
    by_outcome.map(|(outcome, number)| (labels(told.labels, Some(outcome)), Value::Count(number)))
}

fn labels(of: &Labels, last: Option<&str>) -> Vec<String> {
    let Labels { namespace, run, fault, target } = of.clone();
    [namespace, run, fault, target].into_iter().chain(last.map(str::to_owned)).collect()
}
