//! Prefixes of addresses and ports, and the closure that a longest-prefix trie needs.

use std::collections::BTreeMap;

use chaos_ebpf_common::tables::Ends;
use ipnet::{Ipv4Net, Ipv6Net};

/// The first `length` bits of a key. The bits are at the top of `bits`, the rest is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    pub(super) bits: u128,
    pub(super) length: u32,
}

impl Prefix {
    pub(super) fn v4(network: Ipv4Net) -> Self {
        let bits = u128::from(network.network().to_bits()) << 96;
        Self { bits, length: network.prefix_len().into() }
    }

    pub(super) fn v6(network: Ipv6Net) -> Self {
        Self { bits: network.network().to_bits(), length: network.prefix_len().into() }
    }

    /// The fewest prefixes that cover exactly these 16-bit ports, both ends included. Port 0
    /// stands for "no port" in events and is never covered.
    pub(super) fn ports(first: u16, last: u16) -> Vec<Self> {
        let (mut next, end) = (u32::from(first.max(1)), u32::from(last) + 1);
        let mut prefixes = Vec::new();
        while next < end {
            // The largest block that begins here and does not reach beyond the end.
            let aligned = next.trailing_zeros();
            let fitting = (end - next).ilog2();
            let size = aligned.min(fitting);
            prefixes.push(Self { bits: u128::from(next) << 112, length: 16 - size });
            next += 1 << size;
        }
        prefixes
    }

    /// All shorter prefixes of this one.
    fn covering(self) -> impl Iterator<Item = Self> {
        (0..self.length).map(move |length| {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            Self { bits: self.bits & mask, length }
        })
    }
}

/// What each prefix allows by itself.
#[derive(Debug, Default)]
pub(super) struct PrefixTable(BTreeMap<Prefix, Ends>);

impl PrefixTable {
    /// Allows more at this prefix.
    pub(super) fn add(&mut self, prefix: Prefix, more: Ends) {
        join(self.0.entry(prefix).or_default(), more);
    }

    /// The table for a trie that returns only the longest match: each prefix with what it and
    /// every prefix that covers it allow.
    pub(super) fn closed(&self) -> impl Iterator<Item = (Prefix, Ends)> + '_ {
        self.0.iter().map(|(prefix, own)| {
            let mut ends = *own;
            for shorter in prefix.covering().filter_map(|shorter| self.0.get(&shorter)) {
                join(&mut ends, *shorter);
            }
            (*prefix, ends)
        })
    }
}

fn join(ends: &mut Ends, more: Ends) {
    ends.source |= more.source;
    ends.destination |= more.destination;
    ends.exempt |= more.exempt;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(prefix: Prefix, port: u16) -> bool {
        let key = u128::from(port) << 112;
        prefix.length == 0 || (key ^ prefix.bits) >> (128 - prefix.length) == 0
    }

    #[test]
    fn well_known_ranges() {
        let lengths = |first, last| -> Vec<u32> {
            Prefix::ports(first, last).iter().map(|prefix| prefix.length).collect()
        };
        assert_eq!(lengths(443, 443), [16]);
        assert_eq!(lengths(1024, 2047), [6]);
        assert_eq!(lengths(0, 0), [0u32; 0]);
        // The most that any range takes: 2 × 16 − 2.
        assert_eq!(lengths(1, 65534).len(), 30);
        assert_eq!(lengths(1, 65535), (1..=16).rev().collect::<Vec<u32>>());
    }

    proptest! {
        #[test]
        fn port_prefixes_cover_the_range_exactly(a in any::<u16>(), b in any::<u16>(), probe in any::<u16>()) {
            let (first, last) = (a.min(b), a.max(b));
            let prefixes = Prefix::ports(first, last);
            let ends = [first.wrapping_sub(1), first, first.saturating_add(1), last, last.wrapping_add(1)];
            for port in ends.into_iter().chain([0, probe]) {
                let covered = prefixes.iter().filter(|prefix| covers(**prefix, port)).count();
                let inside = port != 0 && (first..=last).contains(&port);
                prop_assert_eq!(covered, usize::from(inside), "{}", port);
            }
            // Minimal: no two neighbours make up one shorter prefix.
            for pair in prefixes.windows(2) {
                let shift = 128 - pair[0].length;
                let siblings = pair[0].length == pair[1].length
                    && pair[0].bits >> shift ^ 1 == pair[1].bits >> shift;
                prop_assert!(!siblings, "{:?}", pair);
            }
        }
    }
}
