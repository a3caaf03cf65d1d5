//! Hits in bursts: Gilbert's chain of two states (E. N. Gilbert, "Capacity of a burst-noise
//! channel", BSTJ 39, 1960), in the simple form in which everything within a burst is hit and
//! nothing outside.

use crate::{hash, rule::Rule};

/// Whether the event with this ordinal is in a burst, the one before having been in one or not. A
/// burst begins with the chance that is the rule's threshold, and ends with one chance in `every`,
/// which is how long bursts are on average.
#[inline(always)]
pub fn goes_on(in_burst: bool, rule: &Rule, ordinal: u64) -> bool {
    let dice = (hash::nth(rule.seed, ordinal) >> 32) as u32;
    if in_burst { (dice as u64 * rule.every as u64) >> 32 != 0 } else { dice < rule.threshold }
}
