//! Folds the ledgers of pods, as their agents write them, into the sums of a step.

use std::collections::BTreeMap;

use chaos_api::kinds::LedgerSums;
use chaos_kube::Status;

use crate::pods::PodFacts;

/// The last ledger of each pod by step: what a pod has counted stays counted when it goes.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// By the run's UID and the step, then by the pod's UID.
    known: BTreeMap<(String, String), BTreeMap<String, OfPod>>,
}

/// What a pod has counted.
#[derive(Debug, Default)]
struct OfPod {
    /// Of texts with other addresses than the last one. Each is counted from the beginning.
    before: LedgerSums,
    /// [`Status::observed`] of the last one.
    text: Option<String>,
    counts: LedgerSums,
}

impl OfPod {
    fn take(&mut self, status: &Status, counts: LedgerSums) {
        // Without a text its agent speaks of the one that is gone.
        if status.observed.is_some() && status.observed != self.text {
            self.before = sum(self.before, self.counts);
            self.text.clone_from(&status.observed);
        }
        self.counts = counts;
    }

    fn all(&self) -> LedgerSums {
        sum(self.before, self.counts)
    }
}

impl Ledgers {
    /// The sums of a step, by what it is called on each pod. Never less than `before`: whoever led before may have seen pods
    /// that are gone.
    pub fn fold<'a>(
        &mut self,
        (run_uid, step): (&str, &str),
        name: impl Fn(&PodFacts) -> String,
        pods: impl IntoIterator<Item = &'a PodFacts>,
        before: LedgerSums,
    ) -> LedgerSums {
        let known = self.known.entry((run_uid.to_owned(), step.to_owned())).or_default();
        for pod in pods {
            if let Some(status) = &pod.status
                && let Some(counts) = of(status, &name(pod))
            {
                known.entry(pod.uid.clone()).or_default().take(status, counts);
            }
        }
        most(known.values().map(OfPod::all).fold(LedgerSums::default(), sum), before)
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.known.retain(|(run_uid, _), _| is_live(run_uid));
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

/// What a pod's agent has counted for the sentences of this name.
fn of(status: &Status, name: &str) -> Option<LedgerSums> {
    let mine = |sentence: &str| sentence.ends_with(&format!(" as {name} guarded"));
    let faults = status.faults.iter().filter(|fault| mine(&fault.fault));
    let counts = faults.map(|fault| LedgerSums {
        matched: fault.counts.matched,
        injected: fault.counts.injected,
        shadowed: fault.counts.shadowed,
        spared: fault.counts.spared.values().sum(),
        lost: fault.counts.lost,
    });
    counts.reduce(sum)
}

/// What a pod's agent has counted for the sentences of this name, where it has had them.
pub fn counts(pod: &PodFacts, name: &str) -> Option<LedgerSums> {
    pod.status.as_ref().and_then(|status| of(status, name))
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
            pod.take(&status, LedgerSums { injected, ..LedgerSums::default() });
            pod.all().injected
        };
        assert_eq!(take(Some("a"), 5), 5);
        assert_eq!(take(Some("a"), 7), 7);
        assert_eq!(take(Some("b"), 1), 8);
        // The annotation is gone, and what is told is of the same text.
        assert_eq!(take(None, 3), 10);
    }
}
