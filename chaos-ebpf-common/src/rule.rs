//! A fault compiled for the kernel.

use crate::event::{KINDS, PROTOCOLS};

/// What happens to an event that a rule hits.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lose the packet.
    Drop = 1,
    /// Let the call fail with one of the rule's errnos.
    Fail = 2,
    /// Damage the packet so that the receiver notices.
    Corrupt = 3,
    /// Damage the payload and make the checksum valid again.
    CorruptSilently = 4,
    /// SIGKILL to the caller.
    Kill = 5,
    /// Let a copy of the packet go the same way.
    Duplicate = 6,
    /// Hold the frame back, as long as [`Hold`](crate::hold::Hold) says.
    Delay = 7,
    /// The same, so that those behind it overtake.
    Reorder = 8,
    /// End the connection for both of its ends.
    Reset = 9,
    /// Hold the frame until those before it have left at the rate that [`Hold`](crate::hold::Hold) says.
    Limit = 10,
    /// Answer the question: there is no such name.
    NxDomain = 11,
    /// Answer it: the server has failed.
    ServFail = 12,
    /// Answer it: the server refuses to.
    Refused = 13,
    /// Let nobody answer it.
    Silence = 14,
}

impl Action {
    /// The one with the greatest number.
    const LAST: Self = Self::Silence;

    /// Bits that hold the number of any of them.
    pub const BITS: u32 = 4;

    /// At which stage a frame meets it; `None` for what is not done to frames.
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::Corrupt | Self::CorruptSilently => Some(Stage::Damage),
            Self::Duplicate => Some(Stage::Copy),
            Self::Delay => Some(Stage::Delay),
            Self::Reorder => Some(Stage::Reorder),
            Self::Reset | Self::NxDomain | Self::ServFail | Self::Refused | Self::Silence => {
                Some(Stage::Decision)
            }
            Self::Limit => Some(Stage::Limit),
            Self::Drop | Self::Fail | Self::Kill => None,
        }
    }
}

/// One that does not fit would stand for "spared" in what is packed into [`Action::BITS`].
const _: () = assert!((Action::LAST as u32) < 1 << Action::BITS);

/// What a frame goes through on an interface, in this order. Each stage asks its own rules, the
/// first that hits decides there, and what is answered or lost reaches no later stage.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// An answer is given in place of whoever the frame is for.
    Decision = 0,
    Damage = 1,
    Copy = 2,
    /// The last three add up to one moment until which the frame is held.
    Limit = 3,
    Delay = 4,
    Reorder = 5,
}

/// How many [`Stage`]s there are.
pub const STAGES: usize = Stage::Reorder as usize + 1;

/// When a matching event is hit.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    Always = 0,
    /// hash(seed, ordinal) below the threshold.
    Chance = 1,
    /// hash(seed, flow) below the threshold.
    FlowChance = 2,
    /// Each `every`-th matching event.
    EveryNth = 3,
    /// Always, but what is chosen is chosen by hash(seed, flow).
    EachFlow = 4,
    /// In bursts of `every` on average, of which one begins below the threshold
    /// ([`burst`](crate::burst)).
    Burst = 5,
    /// From the matching event with the number `threshold` to the one with the number `every`, counted from 1.
    /// If `every` is 0, it has no end.
    Window = 6,
    /// The same of flows, numbered in the order in which they are first seen.
    FlowWindow = 7,
}

/// Errnos one rule can choose from.
pub const MAX_ERRNOS: usize = 8;

/// One errno of a weighted list.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ErrnoChoice {
    /// Upper end (exclusive) of this errno's share of 0..65536; rising along the list, the last
    /// one is 65536.
    pub below: u32,
    /// Positive errno, 1 to 133.
    pub errno: u32,
}

/// One rule. Times are nanoseconds of the boot clock (`CLOCK_BOOTTIME`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    pub seed: u64,
    /// Nothing happens before.
    pub not_before: u64,
    /// Nothing happens from here on.
    pub deadline: u64,
    /// Injections in all; 0 = no limit.
    pub at_most: u64,
    /// Probability in units of 2^-32, or where a window begins.
    pub threshold: u32,
    /// Of how many events one is hit, how long bursts are, or where a window ends.
    pub every: u32,
    /// Injections a second, counted in seconds since `not_before`; 0 = no limit.
    pub per_second: u32,
    /// Where its state and its counts are; stays with the rule when the set is replaced.
    pub slot: u32,
    pub action: u8,
    pub trigger: u8,
    /// 1: count, do not act.
    pub shadow: u8,
    pub errno_count: u8,
    /// Chance that what is chosen is what was chosen before, in units of 2^-32
    /// ([`correlation`](crate::correlation)).
    pub correlation: u32,
    pub errnos: [ErrnoChoice; MAX_ERRNOS],
}

/// The head of a rule set: for each dimension that has few values the rules that allow each
/// value, and for the others the rules that look at it at all. One bit a rule; bit 0 is asked
/// first.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleSet {
    pub by_kind: [u64; KINDS],
    pub by_protocol: [u64; PROTOCOLS],
    /// Of the rules on frames those of each [`Stage`].
    pub by_stage: [u64; STAGES],
    /// Rules that constrain the source or destination address, or exempt an address.
    pub peer_source: u64,
    pub peer_destination: u64,
    pub peer_exempt: u64,
    /// Rules that constrain the source or destination port.
    pub port_source: u64,
    pub port_destination: u64,
    /// Rules that leave ports alone.
    pub port_exempt: u64,
    /// Rules whose chance is taken by flow.
    pub by_flow: u64,
    /// Rules that ask for a path.
    pub by_path: u64,
    /// Rules that ask for the name in a question.
    pub by_name: u64,
    pub id: u32,
    /// Where its rules are: that of bit 0, and behind it the others.
    pub first_rule: u32,
    /// The id of the set of the same target that is asked after this one, or [`RuleSet::NONE`].
    pub next: u32,
    pub padding: u32,
}

impl RuleSet {
    /// The id of no set.
    pub const NONE: u32 = 0;

    /// A set that matches nothing.
    pub const fn empty(id: u32) -> Self {
        Self {
            by_kind: [0; KINDS],
            by_protocol: [0; PROTOCOLS],
            by_stage: [0; STAGES],
            peer_source: 0,
            peer_destination: 0,
            peer_exempt: 0,
            port_source: 0,
            port_destination: 0,
            port_exempt: 0,
            by_flow: 0,
            by_path: 0,
            by_name: 0,
            id,
            first_rule: 0,
            next: Self::NONE,
            padding: 0,
        }
    }
}

/// What a rule remembers from event to event. The lock is the kernel's `struct bpf_spin_lock`:
/// ordinals and budgets are exact on any number of CPUs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleState {
    pub lock: u32,
    /// Injections in the current second.
    pub in_second: u32,
    /// Matching events so far.
    pub ordinal: u64,
    /// Injections granted so far.
    pub granted: u64,
    /// The current second, counted from the rule's `not_before`.
    pub second: u64,
    /// 1: the last matching event was in a burst.
    pub burst: u32,
    pub padding: u32,
    /// The boot-clock moments (ns) at which the last frame of each direction leaves a rule with a rate:
    /// egress, ingress.
    pub departures: [u64; 2],
    /// What chose for the last frame of each direction ([`correlation::go_on`](crate::correlation::go_on)).
    pub drawn: [u64; 2],
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Rule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::RuleSet {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::RuleState {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_values_have_no_implicit_padding() {
        assert_eq!(size_of::<Rule>(), 4 * 8 + 4 * 4 + 4 + 4 + MAX_ERRNOS * 8);
        assert_eq!(size_of::<RuleSet>(), (KINDS + PROTOCOLS + STAGES + 9) * 8 + 16);
        assert_eq!(size_of::<RuleState>(), 72);
    }
}
