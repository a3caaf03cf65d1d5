//! Folds the ledgers of pods, as their agents write them, into the sums of a step.

use std::collections::BTreeMap;

use chaos_api::kinds::{Evidence, LedgerSums, StepStatus};
use chaos_fault::{Fault, HowOften, Probability, Unit};
use chaos_kube::{FaultStatus, Status};

use crate::pods::PodFacts;

/// The reason of a ledger for what a chance has spared.
const BY_CHANCE: &str = "chance";

/// That for what was spared because the lease had lapsed.
const BY_LEASE: &str = "lease";

/// That for what could not be held or damaged.
const UNFIT: &str = "unfit";

/// The last ledger of each pod by step: what a pod has counted stays counted when it goes.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// By the run's UID and the step, then by the pod's UID.
    known: BTreeMap<(String, String), BTreeMap<String, OfPod>>,
    /// With which chance the sentences hit that the pods speak of, where each event is decided on its own.
    asked: BTreeMap<String, Option<f64>>,
}

/// What a pod has counted.
#[derive(Debug, Default)]
struct OfPod {
    /// Of texts with other addresses than the last one. Each is counted from the beginning.
    before: Sums,
    /// [`Status::observed`] of the last one.
    text: Option<String>,
    counts: Sums,
}

/// What was counted, and what of it a verdict goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    pub ledger: LedgerSums,
    pub chances: Chances,
    pub omitted: Omitted,
}

impl Sums {
    /// Those of the status of a step.
    pub fn of(status: &StepStatus) -> Self {
        let &Evidence { drawn, expected, hit, lapsed, unfit, missed, .. } = &status.evidence;
        Self {
            ledger: status.ledger,
            chances: Chances { drawn, expected, hit },
            omitted: Omitted { lapsed, unfit, missed },
        }
    }

    /// Writes them into the status of a step.
    pub fn put(self, status: &mut StepStatus) {
        let Self { ledger, chances, omitted } = self;
        status.ledger = ledger;
        let evidence = &mut status.evidence;
        (evidence.drawn, evidence.expected, evidence.hit) =
            (chances.drawn, chances.expected, chances.hit);
        (evidence.lapsed, evidence.unfit) = (omitted.lapsed, omitted.unfit);
        evidence.missed = omitted.missed;
    }
}

/// Events for which a chance was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chances {
    drawn: u64,
    expected: f64,
    hit: u64,
}

/// Events that passed although they were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Omitted {
    lapsed: u64,
    unfit: u64,
    missed: u64,
}

impl Omitted {
    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            lapsed: with(self.lapsed, other.lapsed),
            unfit: with(self.unfit, other.unfit),
            missed: with(self.missed, other.missed),
        }
    }
}

impl Sums {
    fn add(self, other: Self) -> Self {
        let (one, two) = (self.chances, other.chances);
        Self {
            ledger: sum(self.ledger, other.ledger),
            chances: Chances {
                drawn: one.drawn.saturating_add(two.drawn),
                expected: one.expected + two.expected,
                hit: one.hit.saturating_add(two.hit),
            },
            omitted: self.omitted.combine(other.omitted, u64::saturating_add),
        }
    }

    /// The greater of what is known and what was said before.
    fn or(self, before: Self) -> Self {
        let is_less = self.chances.drawn < before.chances.drawn;
        Self {
            ledger: most(self.ledger, before.ledger),
            chances: if is_less { before.chances } else { self.chances },
            omitted: self.omitted.combine(before.omitted, u64::max),
        }
    }
}

impl OfPod {
    fn take(&mut self, status: &Status, counts: Sums) {
        // Without a text its agent speaks of the one that is gone.
        if status.observed.is_some() && status.observed != self.text {
            self.before = self.before.add(self.counts);
            self.text.clone_from(&status.observed);
        }
        self.counts = counts;
    }

    fn all(&self) -> Sums {
        self.before.add(self.counts)
    }
}

impl Ledgers {
    /// The sums of a step, by what it is called on each pod, and whether an agent has begun to count anew. Never less than
    /// `before`: whoever led before may have seen pods that are gone.
    pub fn fold<'a>(
        &mut self,
        (run_uid, step): (&str, &str),
        name: impl Fn(&PodFacts) -> String,
        pods: impl IntoIterator<Item = &'a PodFacts>,
        before: Sums,
    ) -> (Sums, bool) {
        let Self { known, asked } = self;
        let known = known.entry((run_uid.to_owned(), step.to_owned())).or_default();
        let mut has_gap = false;
        for pod in pods {
            let Some(status) = &pod.status else { continue };
            let mut counts: Option<Sums> = None;
            for fault in mine(status, &name(pod)) {
                has_gap |= fault.counted_since.is_some();
                let chance = *asked
                    .entry(fault.fault.clone())
                    .or_insert_with(|| fault.fault.parse().ok().and_then(|fault| chance(&fault)));
                let sums = Sums {
                    ledger: ledger(fault),
                    chances: drawn(fault, chance),
                    omitted: omitted(fault),
                };
                counts = Some(counts.map_or(sums, |before| before.add(sums)));
            }
            if let Some(mut counts) = counts {
                // Of the pod as a whole, whichever of its faults it would have been.
                counts.omitted.missed = status.missed;
                known.entry(pod.uid.clone()).or_default().take(status, counts);
            }
        }
        let all = known.values().map(OfPod::all).fold(Sums::default(), Sums::add);
        (all.or(before), has_gap)
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.known.retain(|(run_uid, _), _| is_live(run_uid));
        if self.known.is_empty() {
            self.asked.clear();
        }
    }
}

/// Both together.
pub fn sum(one: LedgerSums, other: LedgerSums) -> LedgerSums {
    combine(one, other, u64::saturating_add)
}

fn most(one: LedgerSums, other: LedgerSums) -> LedgerSums {
    combine(one, other, u64::max)
}

fn combine(one: LedgerSums, other: LedgerSums, with: impl Fn(u64, u64) -> u64) -> LedgerSums {
    LedgerSums {
        matched: with(one.matched, other.matched),
        injected: with(one.injected, other.injected),
        shadowed: with(one.shadowed, other.shadowed),
        spared: with(one.spared, other.spared),
        lost: with(one.lost, other.lost),
    }
}

/// What a pod's agent says of the sentences of this name.
fn mine<'a>(status: &'a Status, name: &str) -> impl Iterator<Item = &'a FaultStatus> {
    let end = format!(" as {name} guarded");
    status.faults.iter().filter(move |fault| fault.fault.ends_with(&end))
}

fn ledger(fault: &FaultStatus) -> LedgerSums {
    LedgerSums {
        matched: fault.counts.matched,
        injected: fault.counts.injected,
        shadowed: fault.counts.shadowed,
        spared: fault.counts.spared.values().sum(),
        lost: fault.counts.lost,
    }
}

/// With which chance a fault hits each event, where that is decided for each on its own.
fn chance(fault: &Fault) -> Option<f64> {
    match (fault.chance.how, fault.chance.of) {
        (HowOften::Probability(chance), Unit::Packets | Unit::Calls) => {
            Some(f64::from(chance.parts()) / f64::from(Probability::ONE))
        }
        (HowOften::Probability(_), Unit::Flows)
        | (
            HowOften::Always
            | HowOften::EveryNth(_)
            | HowOften::Window { .. }
            | HowOften::Bursts { .. },
            _,
        ) => None,
    }
}

/// The events for which a fault took its chance.
fn drawn(fault: &FaultStatus, chance: Option<f64>) -> Chances {
    let Some(chance) = chance else { return Chances::default() };
    let counts = &fault.counts;
    let hit = counts.injected + counts.shadowed + counts.lost;
    let drawn = hit + spared(fault, BY_CHANCE);
    Chances { drawn, expected: chance * drawn as f64, hit }
}

fn omitted(fault: &FaultStatus) -> Omitted {
    Omitted { lapsed: spared(fault, BY_LEASE), unfit: spared(fault, UNFIT), missed: 0 }
}

/// How many events were spared for this reason.
fn spared(fault: &FaultStatus, reason: &str) -> u64 {
    fault.counts.spared.get(reason).copied().unwrap_or_default()
}

/// What a pod's agent has counted for the sentences of this name, where it has had them.
pub fn counts(pod: &PodFacts, name: &str) -> Option<LedgerSums> {
    let status = pod.status.as_ref()?;
    mine(status, name).map(ledger).reduce(sum)
}

/// Whether a pod's agent has had the sentences of this name.
pub fn has_had(pod: &PodFacts, name: &str) -> bool {
    counts(pod, name).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_counted_with_other_addresses_counts_on() {
        let mut pod = OfPod::default();
        let mut take = |text: Option<&str>, injected: u64| {
            let status =
                json!({ "phase": "Armed", "observed": text, "faults": [], "messages": [] });
            let status: Status = serde_json::from_value(status).unwrap();
            let ledger = LedgerSums { injected, ..LedgerSums::default() };
            pod.take(&status, Sums { ledger, ..Sums::default() });
            pod.all().ledger.injected
        };
        assert_eq!(take(Some("a"), 5), 5);
        assert_eq!(take(Some("a"), 7), 7);
        assert_eq!(take(Some("b"), 1), 8);
        // The annotation is gone, and what is told is of the same text.
        assert_eq!(take(None, 3), 10);
    }
}
