//! Encodes the numbers of flows, as the map NUMBERED has them, for rules that hit some flows by their order.

use crate::{hash, rule::Rule};

/// Flows that the rules of one set may have to tell apart by their numbers.
pub const MAX_NUMBERED: usize = 2048;

/// What a flow is remembered by for its number. The moment (ns) at which the rule begins tells it from one that
/// had its slot before.
#[inline(always)]
pub fn key(flow: u64, rule: &Rule) -> u64 {
    hash::mix(flow ^ hash::mix(rule.not_before ^ hash::mix(rule.slot as u64)))
}

/// The number of a flow and the slot of the rule that gave it; 0 while it is being given.
#[inline(always)]
pub const fn value(slot: u32, number: u32) -> u64 {
    (slot as u64) << 32 | number as u64
}

/// The slot of the rule that gave a number.
pub const fn slot_of(value: u64) -> u32 {
    (value >> 32) as u32
}
