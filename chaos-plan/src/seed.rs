//! From the user's seed to a rule's.

use std::collections::HashMap;

use chaos_ebpf_common::hash;
use chaos_fault::Fault;

use super::PlannedRule;

/// FNV-1a (RFC 9923), 64 bits: short, and the same on every machine and in every version.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The seed of each rule: rules that share the user's seed decide independently of each other,
/// and decide the same when they are run again, alone or among others.
pub(super) fn seeds(rules: &[PlannedRule]) -> Vec<u64> {
    let mut earlier: HashMap<Fault, u64> = HashMap::new();
    rules
        .iter()
        .map(|rule| {
            // The same fault twice is two dice, not one thrown twice.
            let copies = earlier.entry(rule.fault.without_origin()).or_default();
            let copy = *copies;
            *copies += 1;
            hash::mix(rule.seed ^ fingerprint(&rule.fault).wrapping_add(copy))
        })
        .collect()
}

/// A number for what the fault says, from its canonical sentence. The seed is left out as it comes
/// in beside it, and `shadow` so that a shadow counts exactly the events that the fault itself would
/// hit. Who asks for it, and until when, is left out: the next one who asks for it gets the same.
fn fingerprint(fault: &Fault) -> u64 {
    fnv(&Fault { seed: None, shadow: false, ..fault.without_origin() }.to_string())
}

/// A seed for whoever has a name and no seed: the same for the same name, always. 32 bits: short
/// to type, and exact in every reader of JSON.
pub fn seed_from(name: &str) -> u32 {
    (hash::mix(fnv(name)) >> 32) as u32
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}
