//! Makes series of faults out of ledgers. Pure: it is told what time it is.
//!
//! A series has the sums of all faults with the same labels: those that are armed, as their ledgers were read last, and
//! those that are not any more, as they were closed. So a series never goes back, and it equals the ledgers.

use std::collections::{BTreeMap, BTreeSet};

use chaos_api::{ArmedId, Closed, Counts, FaultReport, Ledgers, Phase, RunName, TargetReport};
use chaos_fault::Fault;

use crate::metric::OTHER;

/// Series of faults; what comes on top is summed under [`OTHER`].
pub const MOST: usize = 2_000;

/// How long a series is kept after its last fault has ended (ns): longer than Prometheus goes by what it has
/// scraped last, for each usual interval.
pub const KEPT: u64 = 900_000_000_000;

/// A sentence that stands for itself, for lack of a name, is cut to so many bytes.
const LONGEST: usize = 200;

/// Which series a fault belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// Of the pod; empty where it is none's.
    pub namespace: String,
    /// `RUN` in the pod's namespace, or `NAMESPACE/RUN`; empty where nobody runs it.
    pub run: String,
    /// What the fault is called in its run, or at all; without a name its sentence.
    pub fault: String,
    /// Empty unless there are series for each pod: `POD`, `POD/CONTAINER`, or the id of what was armed by hand.
    pub target: String,
}

impl Labels {
    fn other() -> Self {
        let other = || OTHER.to_owned();
        Self { namespace: other(), run: other(), fault: other(), target: other() }
    }

    fn of(id: &str, sentence: &str, per_pod: bool) -> Self {
        let (namespace, target) = place(id);
        let fault: Option<Fault> = sentence.parse().ok();
        let run = fault.as_ref().and_then(|fault| RunName::of(fault, namespace));
        let name = fault.and_then(|fault| fault.name);
        let fault = match (&run, &name) {
            (Some(_), Some(name)) => name.rsplit('/').next().unwrap_or(name).to_owned(),
            (None, Some(name)) => name.clone(),
            (_, None) => shortened(sentence),
        };
        let run = match run {
            Some(run) if run.namespace == namespace => run.name,
            Some(run) => run.to_string(),
            None => String::new(),
        };
        let target = if per_pod { target.to_owned() } else { String::new() };
        Self { namespace: namespace.to_owned(), run, fault, target }
    }
}

/// The namespace and the pod of what is armed; of what is no pod's, no namespace and what it is called itself.
fn place(id: &str) -> (&str, &str) {
    let of_pod = id.strip_prefix("pod:").and_then(|pod| pod.split_once('/'));
    match of_pod {
        // With the container behind the pod's name, where it is a container's.
        Some((namespace, pod)) => (namespace, pod),
        None => ("", id),
    }
}

fn shortened(sentence: &str) -> String {
    if sentence.len() <= LONGEST {
        return sentence.to_owned();
    }
    let cut = sentence.floor_char_boundary(LONGEST);
    format!("{}…", &sentence[..cut])
}

/// What is summed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub injected: u64,
    pub shadowed: u64,
    pub lost: u64,
    pub spared: BTreeMap<String, u64>,
}

impl Sums {
    fn add(&mut self, counts: &Counts) {
        let Counts { matched: _, injected, shadowed, lost, spared } = counts;
        self.injected += injected;
        self.shadowed += shadowed;
        self.lost += lost;
        for (reason, number) in spared {
            *self.spared.entry(reason.clone()).or_default() += number;
        }
    }

    fn join(&mut self, other: &Self) {
        let Self { injected, shadowed, lost, spared } = other.clone();
        self.add(&Counts { matched: 0, injected, shadowed, lost, spared });
    }
}

/// One series.
#[derive(Debug, Clone, Default)]
struct Series {
    closed: Sums,
    live: Sums,
    /// Faults that are in the kernel and not over.
    armed: usize,
    /// Boot clock, ns: when the last of them ends.
    ends: Option<u64>,
    /// Boot clock, ns: when something of it was in the kernel last.
    seen: u64,
}

/// One fault of a target, as it was read last.
#[derive(Debug, Clone)]
struct Live {
    labels: Labels,
    slot: u32,
    sentence: String,
    phase: Phase,
    ends: u64,
    counts: Counts,
}

impl Live {
    fn is(&self, fault: &FaultReport) -> bool {
        self.slot == fault.slot && self.sentence == fault.fault
    }
}

/// A target, as it was read last.
#[derive(Debug, Clone, Default)]
struct LiveTarget {
    faults: Vec<Live>,
    missed: u64,
}

/// A series, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    pub labels: &'a Labels,
    pub sums: Sums,
    pub armed: usize,
    pub ends: Option<u64>,
}

/// All series of faults.
#[derive(Debug, Default)]
pub struct Faults {
    per_pod: bool,
    most: usize,
    series: BTreeMap<Labels, Series>,
    live: BTreeMap<ArmedId, LiveTarget>,
    /// Those that are summed under [`OTHER`] for as long as something of them is in the kernel: the sum must not go back.
    folded: BTreeSet<Labels>,
    /// How many were folded so far.
    times_folded: u64,
    /// Of targets that are not armed any more.
    missed: u64,
    dropped: u64,
}

impl Faults {
    /// With a series for each pod, or without.
    pub fn new(per_pod: bool) -> Self {
        Self { per_pod, most: MOST, ..Self::default() }
    }

    /// Takes in what has been counted until `now` (boot clock, ns).
    pub fn take(&mut self, ledgers: Ledgers, now: u64) {
        let Ledgers { closed, dropped, armed } = ledgers;
        self.dropped += dropped;
        for closed in closed {
            match closed {
                Closed::Target(id, report) => self.close_target(&id, report, now),
                Closed::Faults(report) => self.close_faults(&report, now),
            }
        }
        if let Some(armed) = armed {
            self.read(armed, now);
        }
        self.sum(now);
    }

    fn close_target(&mut self, id: &ArmedId, report: Option<TargetReport>, now: u64) {
        let before = self.live.remove(id).unwrap_or_default();
        match report {
            Some(report) => {
                self.missed += report.missed;
                self.close_faults(&report, now);
            }
            // As it was read last: there is nothing better.
            None => self.close_as_read(&before, now),
        }
    }

    fn close_faults(&mut self, report: &TargetReport, now: u64) {
        let id = ArmedId(report.id.clone());
        for fault in &report.faults {
            if let Some(target) = self.live.get_mut(&id) {
                target.faults.retain(|live| !live.is(fault));
            }
            let labels = Labels::of(&report.id, &fault.fault, self.per_pod);
            self.add(&labels, &fault.counts, now);
        }
    }

    fn close_as_read(&mut self, target: &LiveTarget, now: u64) {
        self.missed += target.missed;
        target.faults.iter().for_each(|fault| self.add(&fault.labels, &fault.counts, now));
    }

    fn add(&mut self, labels: &Labels, counts: &Counts, now: u64) {
        let series = self.series_of(labels, now);
        series.closed.add(counts);
        series.seen = now;
    }

    /// Takes over what is armed.
    fn read(&mut self, armed: Vec<(ArmedId, Option<TargetReport>)>, now: u64) {
        let mut before = std::mem::take(&mut self.live);
        for (id, report) in armed {
            let known = before.remove(&id).unwrap_or_default();
            let target = match report {
                Some(report) => {
                    // Programs that are left take what they have missed with them.
                    if report.missed < known.missed {
                        self.missed += known.missed;
                    }
                    self.live_target(&report, &known)
                }
                None => known,
            };
            self.live.insert(id, target);
        }
        // Of these no end was told.
        before.values().for_each(|target| self.close_as_read(target, now));
    }

    fn live_target(&self, report: &TargetReport, known: &LiveTarget) -> LiveTarget {
        let live = |fault: &FaultReport| {
            let known = known.faults.iter().find(|live| live.is(fault));
            let labels = known.map(|live| live.labels.clone());
            Live {
                labels: labels
                    .unwrap_or_else(|| Labels::of(&report.id, &fault.fault, self.per_pod)),
                slot: fault.slot,
                sentence: fault.fault.clone(),
                phase: fault.phase,
                ends: fault.ends,
                counts: fault.counts.clone(),
            }
        };
        LiveTarget { faults: report.faults.iter().map(live).collect(), missed: report.missed }
    }

    /// Sums up what is live, and forgets series that have been over for long enough.
    fn sum(&mut self, now: u64) {
        for series in self.series.values_mut() {
            (series.live, series.armed, series.ends) = (Sums::default(), 0, None);
        }
        let live = std::mem::take(&mut self.live);
        let mut labels_of_live = BTreeSet::new();
        for fault in live.values().flat_map(|target| &target.faults) {
            let series = self.series_of(&fault.labels, now);
            series.live.add(&fault.counts);
            series.seen = now;
            if fault.phase != Phase::Ended {
                series.armed += 1;
                series.ends = series.ends.max(Some(fault.ends));
            }
            labels_of_live.insert(&fault.labels);
        }
        self.folded.retain(|labels| labels_of_live.contains(labels));
        drop(labels_of_live);
        self.live = live;
        let other = Labels::other();
        self.series
            .retain(|labels, series| *labels == other || now.saturating_sub(series.seen) < KEPT);
    }

    fn series_of(&mut self, labels: &Labels, now: u64) -> &mut Series {
        let is_own = self.series.contains_key(labels);
        let is_folded = !is_own && (self.folded.contains(labels) || self.series.len() >= self.most);
        if is_folded && self.folded.insert(labels.clone()) {
            self.times_folded += 1;
        }
        let labels = if is_folded { Labels::other() } else { labels.clone() };
        self.series.entry(labels).or_insert_with(|| Series { seen: now, ..Series::default() })
    }

    /// Each series, as it is now.
    pub fn series(&self) -> impl Iterator<Item = Told<'_>> {
        self.series.iter().map(|(labels, series)| {
            let mut sums = series.closed.clone();
            sums.join(&series.live);
            Told { labels, sums, armed: series.armed, ends: series.ends }
        })
    }

    /// How many calls were missed at most, of all targets together.
    pub fn missed(&self) -> u64 {
        self.missed + self.live.values().map(|target| target.missed).sum::<u64>()
    }

    /// How often a series was folded into [`OTHER`].
    pub fn times_folded(&self) -> u64 {
        self.times_folded
    }

    /// How many closed ledgers the keeper could not keep: what was counted in them since they were read last is missing.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests;
