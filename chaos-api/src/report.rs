//! What is told about armed faults, the same on every screen, in JSON and in a pod's status.

use std::collections::BTreeMap;

use chaos_ebpf_common::ledger::Count;
use chaos_plan::Hook;
use serde::{Deserialize, Serialize};

use crate::SlotCounts;

/// Where a fault is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `after` has not passed yet.
    Waiting,
    Active,
    /// The deadline has passed.
    Ended,
}

/// The ledger of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultReport {
    /// The canonical sentence.
    pub fault: String,
    /// Its place in the text it came from.
    pub index: usize,
    pub hooks: Vec<Hook>,
    /// System calls that are answered by number, each with its backend.
    #[serde(default)]
    pub calls: Vec<String>,
    pub seed: u64,
    pub phase: Phase,
    /// Boot clock, ns: when the fault's own clock began.
    pub began: u64,
    /// Boot clock, ns: its deadline.
    pub ends: u64,
    /// The ledger slot, by which records of the ring name their rule.
    pub slot: u32,
    /// What the plan promises of it and what it does not.
    pub notes: Vec<String>,
    /// Likely reasons why nothing has matched it: there when it has been in force, for 10 s where it goes
    /// on, and nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<String>,
    pub counts: Counts,
}

/// `matched = injected + shadowed + lost + sum of spared`, always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub matched: u64,
    pub injected: u64,
    pub shadowed: u64,
    /// Frames that were to be held and had to be lost, as there was no room for them: in the delay line,
    /// or among those that wait for a rate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// By reason; reasons that never occurred are left out.
    pub spared: BTreeMap<String, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<SlotCounts> for Counts {
    fn from(slot: SlotCounts) -> Self {
        let mut counts = Self::default();
        for (count, number) in slot {
            let mut spare = |reason: &str| {
                if number > 0 {
                    counts.spared.insert(reason.to_owned(), number);
                }
            };
            match count {
                Count::Matched => counts.matched = number,
                Count::Injected => counts.injected = number,
                Count::Shadowed => counts.shadowed = number,
                Count::Overflow => counts.lost = number,
                Count::Lease => spare("lease"),
                Count::Early => spare("early"),
                Count::Ended => spare("ended"),
                Count::Chance => spare("chance"),
                Count::AtMost => spare("at-most"),
                Count::PerSecond => spare("per-second"),
                Count::Fragment => spare("fragment"),
                Count::Unfit => spare("unfit"),
            }
        }
        counts
    }
}

/// A target and its faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    pub id: String,
    pub target: String,
    pub cgroup: String,
    /// So many of its calls at most were missed by the kernel's programs: neither failed nor counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    pub notes: Vec<String>,
    pub faults: Vec<FaultReport>,
}

impl Counts {
    /// Events that were matched and not accounted for: 0 unless the ledger was read while it
    /// was being written.
    pub fn imbalance(&self) -> i128 {
        let spared: u64 = self.spared.values().sum();
        i128::from(self.matched) - i128::from(self.injected + self.shadowed + self.lost + spared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_sorted_into_their_places() {
        let slot: SlotCounts =
            Count::ALL.into_iter().zip([13, 1, 2, 0, 0, 0, 7, 0, 0, 0, 0, 3]).collect();
        let counts = Counts::from(slot);
        assert_eq!((counts.matched, counts.injected, counts.shadowed), (13, 1, 2));
        assert_eq!(counts.lost, 3);
        assert_eq!(counts.spared, BTreeMap::from([("chance".to_owned(), 7)]));
        assert_eq!(counts.imbalance(), 0);
    }
}
