//! The ledger as people read it.

use chaos_api::{Counts, FaultReport};
use chaos_fault::shortened;

use super::output;

/// One row a fault. `SHADOWED` is there where something was.
pub fn table(faults: &[FaultReport]) -> String {
    if faults.iter().any(|fault| fault.counts.shadowed > 0 || fault.fault.starts_with("shadow ")) {
        let rows = faults.iter().map(|FaultReport { fault, counts, .. }| {
            let Counts { matched, injected, shadowed, .. } = counts;
            let numbers = [matched, injected, shadowed].map(u64::to_string);
            let [matched, injected, shadowed] = numbers;
            [shortened(fault), matched, injected, shadowed, spared(counts)]
        });
        return output::table(["FAULT", "MATCHED", "INJECTED", "SHADOWED", "SPARED"], rows);
    }
    let rows = faults.iter().map(|FaultReport { fault, counts, .. }| {
        let Counts { matched, injected, .. } = counts;
        [shortened(fault), matched.to_string(), injected.to_string(), spared(counts)]
    });
    output::table(["FAULT", "MATCHED", "INJECTED", "SPARED"], rows)
}

/// One line for each fault that nothing has matched, with the likely reasons.
pub fn unmatched(faults: &[FaultReport]) -> impl Iterator<Item = String> {
    faults.iter().filter_map(|FaultReport { fault, unmatched, .. }| {
        Some(format!("nothing matched `{}`: {}", shortened(fault), unmatched.as_ref()?))
    })
}

/// `57 (chance 50, at-most 7)`, and behind it what was lost for want of room.
pub fn spared(counts: &Counts) -> String {
    let total: u64 = counts.spared.values().sum();
    let reasons: Vec<String> =
        counts.spared.iter().map(|(reason, number)| format!("{reason} {number}")).collect();
    let spared =
        if total == 0 { "0".to_owned() } else { format!("{total} ({})", reasons.join(", ")) };
    match counts.lost {
        0 => spared,
        lost => format!("{spared}; {lost} lost for want of room"),
    }
}

/// How the decisions of a run are made again.
pub fn repeat(seed: u64) -> String {
    format!("--seed {seed} repeats it")
}
