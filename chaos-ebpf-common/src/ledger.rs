//! What is counted, per rule and per CPU.

/// One counter of a rule. For every rule
/// `Matched = Injected + Shadowed + Overflow + the spared ones`.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// The event met every condition of the rule, and no earlier rule had acted on it.
    Matched = 0,
    /// The fault was done to the victim.
    Injected = 1,
    /// A shadow rule would have acted.
    Shadowed = 2,
    /// Spared: the lease had lapsed.
    Lease = 3,
    /// Spared: `after` had not passed yet.
    Early = 4,
    /// Spared: the deadline had passed.
    Ended = 5,
    /// Spared: the dice (or the ordinal) said no.
    Chance = 6,
    /// Spared: `at most N` was used up.
    AtMost = 7,
    /// Spared: `at most N per second` was used up.
    PerSecond = 8,
    /// Spared: a later fragment, whose flow cannot be known.
    Fragment = 9,
    /// Spared: there was nothing to act on (no payload to corrupt), or the kernel refused, or the
    /// delay line did not answer, or it took too long to find out which file a call is about.
    Unfit = 10,
    /// Lost by us: the frame was to be held and there was no room for it, in the delay line or among
    /// those that wait for a rate.
    Overflow = 11,
}

impl Count {
    /// Every counter, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Matched,
        Self::Injected,
        Self::Shadowed,
        Self::Lease,
        Self::Early,
        Self::Ended,
        Self::Chance,
        Self::AtMost,
        Self::PerSecond,
        Self::Fragment,
        Self::Unfit,
        Self::Overflow,
    ];
}

/// Room for counters in a rule's entry.
pub const COUNTS: usize = 12;

/// The counters of one rule on one CPU, indexed by [`Count`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleCounts {
    pub counts: [u64; COUNTS],
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no padding, every bit pattern valid.
    unsafe impl aya::Pod for super::RuleCounts {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_numbered_in_order_and_fit() {
        for (index, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, index);
            assert!(index < COUNTS);
        }
    }
}
