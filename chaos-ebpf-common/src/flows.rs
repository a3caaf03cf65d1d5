//! What is remembered of flows: when the last frame of each will have left, for rates that each flow has to itself.
//!
//! A flow is remembered for as long as a frame of it waits: what says that the last one has left is as
//! good as nothing ([`hold::depart`]), so its place can go to another flow and no rate is the less exact
//! for it. Only where more flows wait at once than a group has places, some are guests at the places of
//! others and share their rate. Whatever waits of one flow waits at one place, so no flow overtakes
//! itself or is faster than its rate.

use crate::{hash, hold};

/// Flows of one group.
pub const PLACES: usize = 4;
/// How many groups a rule has.
pub const GROUPS: usize = 1024;

/// Some flows whose keys fall together. Whoever changes them has the lock of the state of their rule.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowGroup {
    /// When the last frame of a guest will have left.
    pub guests_until: u64,
    /// Their [`key`]s.
    pub keys: [u64; PLACES],
    /// The boot-clock moments (ns) at which the last frame of each will have left.
    pub departures: [u64; PLACES],
}

/// What a flow ([`hash::flow_of`]) has under one rule in one direction. `generation` tells the rule from
/// one that had its slot before.
#[inline(always)]
pub fn key(flow: u64, slot: u32, generation: u32, ingress: bool) -> u64 {
    hash::mix(flow ^ hash::mix((generation as u64) << 32 | (slot as u64) << 1 | ingress as u64))
}

/// The group that a key falls into, below [`GROUPS`].
#[inline(always)]
pub fn group(key: u64) -> u32 {
    (key >> 32) as u32 & (GROUPS as u32 - 1)
}

/// [`hold::depart`] for a frame of the flow with this key: behind those of its own that wait.
///
/// Where it has no place it takes one at which nothing waits, unless it may be somebody's guest; a guest
/// waits at the place that its key says.
#[inline(always)]
pub fn depart(
    guests_until: &mut u64,
    keys: &mut [u64; PLACES],
    departures: &mut [u64; PLACES],
    key: u64,
    transmission: u64,
    queue: u64,
    now: u64,
) -> Option<u64> {
    let mut place = key as usize & (PLACES - 1);
    if *guests_until <= now {
        for (other, departure) in departures.iter().enumerate() {
            if *departure <= now {
                place = other;
            }
        }
    }
    for (other, owner) in keys.iter().enumerate() {
        if *owner == key {
            place = other;
        }
    }
    if departures[place] <= now {
        keys[place] = key;
    }
    let held = hold::depart(&mut departures[place], transmission, queue, now);
    if keys[place] != key && *guests_until < departures[place] {
        *guests_until = departures[place];
    }
    held
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::FlowGroup {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::hold::DEFAULT_QUEUE;

    const NOW: u64 = 5_000_000_000;
    const TIME: u64 = 1_000_000;

    fn send(group: &mut FlowGroup, key: u64, now: u64) -> Option<u64> {
        let FlowGroup { guests_until, keys, departures, .. } = group;
        depart(guests_until, keys, departures, key, TIME, DEFAULT_QUEUE, now)
    }

    #[test]
    fn map_values_have_no_implicit_padding() {
        assert_eq!(size_of::<FlowGroup>(), 8 + 2 * 8 * PLACES);
    }

    #[test]
    fn flows_wait_for_their_own_frames_alone() {
        let mut group = FlowGroup::default();
        for round in 1..=3 {
            for flow in 1..=PLACES as u64 {
                assert_eq!(send(&mut group, flow, NOW), Some(round * TIME), "{flow}");
            }
        }
    }

    #[test]
    fn a_place_goes_to_another_flow_when_nothing_waits_there() {
        let mut group = FlowGroup::default();
        for flow in 1..=4 {
            send(&mut group, flow, NOW);
        }
        // The first one waits longer than the others.
        assert_eq!(send(&mut group, 1, NOW), Some(2 * TIME));
        let later = NOW + TIME;
        for flow in 5..=7 {
            assert_eq!(send(&mut group, flow, later), Some(TIME), "{flow}");
        }
        assert_eq!(send(&mut group, 1, later), Some(2 * TIME));
        assert_eq!(send(&mut group, 7, later), Some(2 * TIME));
    }

    #[test]
    fn flows_beyond_the_places_are_guests_until_all_guests_have_left() {
        let mut group = FlowGroup::default();
        for flow in 1..=4 {
            send(&mut group, flow, NOW);
        }
        let guest = 5;
        let host = group.keys[guest as usize & (PLACES - 1)];
        assert_eq!(send(&mut group, guest, NOW), Some(2 * TIME), "behind its host");
        assert_eq!(send(&mut group, host, NOW), Some(3 * TIME), "which waits for it, too");
        // The others have left, but it waits where it has waited.
        assert_eq!(send(&mut group, guest, NOW + TIME), Some(3 * TIME));
        // And when it has left, it takes a place of its own.
        let later = NOW + 4 * TIME;
        assert_eq!(send(&mut group, host, later), Some(TIME));
        assert_eq!(send(&mut group, guest, later), Some(TIME));
    }

    #[test]
    fn a_backlog_ends_for_each_flow() {
        let mut group = FlowGroup::default();
        let taken = (0..2 * DEFAULT_QUEUE / TIME).filter_map(|_| send(&mut group, 1, NOW)).count();
        assert_eq!(taken as u64, DEFAULT_QUEUE / TIME + 1);
        assert_eq!(send(&mut group, 2, NOW), Some(TIME));
    }

    #[test]
    fn rules_directions_and_generations_have_keys_of_their_own() {
        let mut keys: Vec<u64> = Vec::new();
        for slot in 0..128 {
            for generation in 0..16 {
                keys.extend([false, true].map(|ingress| key(77, slot, generation, ingress)));
            }
        }
        let groups: Vec<u32> = keys.iter().map(|key| group(*key)).collect();
        assert!(groups.iter().all(|group| (*group as usize) < GROUPS));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 128 * 16 * 2);
        let used: std::collections::BTreeSet<u32> = groups.into_iter().collect();
        // 4096 balls into 1024 urns leave 19 of them empty, give or take 4.
        assert!((990..1024).contains(&used.len()), "{}", used.len());
    }

    proptest! {
        #[test]
        fn no_flow_is_faster_than_its_rate(
            frames in prop::collection::vec((1..9u64, 0..3 * TIME), 1..300),
        ) {
            let mut group = FlowGroup::default();
            let mut now = NOW;
            let mut done = std::collections::BTreeMap::new();
            for (flow, pause) in frames {
                now += pause;
                if let Some(held) = send(&mut group, flow, now) {
                    let last = done.insert(flow, now + held).unwrap_or(0);
                    prop_assert!(now + held >= last.max(now) + TIME, "{}", flow);
                }
            }
        }
    }
}
