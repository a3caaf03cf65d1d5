//! The stamp of a frame that comes by the interfaces of a target again: a copy, an answer, or what a
//! delay line gives back.
//!
//! The programs of several targets may see the same frames: nested targets, targets that share a network namespace,
//! those of two processes. So a stamp names the *instance* that put it there, which is one target of one process, and how
//! often the frame was stamped: each instance takes its own stamps only, and none asks about a frame that was stamped too
//! often.

use crate::{event::EventKind, rule::STAGES};

/// What a stamp begins with: `chaos-ag`.
const MAGIC: [u32; 2] = [u32::from_be_bytes(*b"chao"), u32::from_be_bytes(*b"s-ag")];

/// A frame that was stamped so often passes unasked: whatever is armed, one frame becomes at most so
/// many generations of copies. Two for each of four targets, nested in each other, on the loopback.
pub const MOST_HOPS: u32 = 8;

/// In place of an instance: the stamp was lifted.
const NOBODY: u32 = 0;

/// The random number of a process is from 1 to this.
pub const MOST_RANDOM: u32 = u32::MAX >> 1;

/// The instance that is the target with this number, of a process with this random number.
#[inline(always)]
pub fn instance(random: u32, target: u32) -> u32 {
    random.wrapping_add(target)
}

/// Words of a frame's control block that a stamp takes.
pub const WORDS: usize = 4;

/// A stamp. In words: the magic, the instance, and from the low end of the last one the stages
/// (8 bits), the direction (8) and the hops (16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    instance: u32,
    hops: u32,
    kind: u32,
    stages: u32,
}

/// What the program of an instance learns from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// How many stages the frame has behind it: 0 for one that is new to this instance, [`STAGES`]
    /// for one that it is not to ask about.
    pub behind: u32,
    /// The stamp was this instance's. What is to be in its place: only how often the frame was stamped.
    pub lifted: Option<[u32; WORDS]>,
}

impl Stamp {
    #[inline(always)]
    fn from_words([first, second, instance, rest]: [u32; WORDS]) -> Option<Self> {
        if first != MAGIC[0] || second != MAGIC[1] {
            return None;
        }
        Some(Self { instance, hops: rest >> 16, kind: rest >> 8 & 0xff, stages: rest & 0xff })
    }

    #[inline(always)]
    fn to_words(self) -> [u32; WORDS] {
        let Self { instance, hops, kind, stages } = self;
        [MAGIC[0], MAGIC[1], instance, hops << 16 | kind << 8 | stages]
    }
}

/// The stamp of `instance` on a frame that has so many stages of this direction behind it. `before` is
/// what is in its place.
#[inline(always)]
pub fn next(before: [u32; WORDS], instance: u32, kind: EventKind, stages: u32) -> [u32; WORDS] {
    let hops = match Stamp::from_words(before) {
        Some(Stamp { hops, .. }) if hops >= MOST_HOPS => MOST_HOPS,
        Some(Stamp { hops, .. }) => hops + 1,
        None => 1,
    };
    Stamp { instance, hops, kind: kind as u32, stages }.to_words()
}

/// The number of the target that has put the stamp there, as a process with this random number counts; `None` where there
/// is none, or it was lifted. A number that the process has given nobody is of another process.
#[inline(always)]
pub fn put_by(words: [u32; WORDS], random: u32) -> Option<u32> {
    match Stamp::from_words(words) {
        Some(Stamp { instance, .. }) if instance != NOBODY => Some(instance.wrapping_sub(random)),
        _ => None,
    }
}

/// What `instance` makes of a frame with these words. Its own stamp comes off, so that those behind it
/// on the way meet the frame as a new one. It asks nothing about a frame with another's: programs are
/// asked in turn, so it was asked about when it came by before the other's, or will be when the other
/// has lifted it.
#[inline(always)]
pub fn meet(words: [u32; WORDS], instance: u32, kind: EventKind) -> Met {
    let Some(stamp) = Stamp::from_words(words) else {
        return Met { behind: 0, lifted: None };
    };
    if stamp.instance == NOBODY {
        let behind = if stamp.hops >= MOST_HOPS { STAGES as u32 } else { 0 };
        return Met { behind, lifted: None };
    }
    if stamp.instance != instance || stamp.kind != kind as u32 {
        return Met { behind: STAGES as u32, lifted: None };
    }
    let behind = if stamp.hops >= MOST_HOPS { STAGES as u32 } else { stamp.stages };
    Met { behind, lifted: Some(Stamp { instance: NOBODY, ..stamp }.to_words()) }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::VecDeque, vec, vec::Vec};

    use super::*;

    const IN: EventKind = EventKind::FrameIngress;
    const OUT: EventKind = EventKind::FrameEgress;
    const ALL: u32 = STAGES as u32;

    #[test]
    fn an_instance_takes_its_own_stamp_and_leaves_the_others() {
        assert_eq!(meet([1, 2, 3, 4], 7, IN), Met { behind: 0, lifted: None });
        let words = next([0; 4], 7, IN, 3);
        let met = meet(words, 7, IN);
        assert_eq!(met.behind, 3);
        for (instance, kind) in [(8, IN), (7, OUT), (8, OUT)] {
            assert_eq!(meet(words, instance, kind), Met { behind: ALL, lifted: None });
        }
        // What was lifted is new to everybody, whichever way it goes.
        let lifted = met.lifted.unwrap();
        for (instance, kind) in [(7, IN), (8, IN), (7, OUT)] {
            assert_eq!(meet(lifted, instance, kind), Met { behind: 0, lifted: None });
        }
    }

    #[test]
    fn targets_of_a_process_are_instances_of_their_own() {
        for random in [1, 77, MOST_RANDOM] {
            for target in [0, 1, 77, u16::MAX.into()] {
                let one = instance(random, target);
                assert_ne!(one, NOBODY);
                let met = meet(next([0; WORDS], one, IN, 3), instance(random, target + 1), IN);
                assert_eq!(met, Met { behind: ALL, lifted: None }, "{random} {target}");
            }
        }
    }

    #[test]
    fn a_process_knows_which_of_its_targets_has_put_a_stamp() {
        for (random, target) in [(1, 1), (77, 500), (MOST_RANDOM, u16::MAX.into())] {
            let words = next([0; WORDS], instance(random, target), IN, 3);
            assert_eq!(put_by(words, random), Some(target));
            assert_ne!(put_by(words, random + 1), Some(target));
            let lifted = meet(words, instance(random, target), IN).lifted.unwrap();
            assert_eq!(put_by(lifted, random), None);
        }
        assert_eq!(put_by([1, 2, 3, 4], 7), None);
    }

    #[test]
    fn nobody_asks_about_what_was_stamped_too_often() {
        let mut words = [0; 4];
        for hops in 1..=2 * MOST_HOPS {
            words = next(words, 7, IN, 3);
            let met = meet(words, 7, IN);
            let too_often = hops >= MOST_HOPS;
            assert_eq!(met.behind, if too_often { ALL } else { 3 }, "{hops}");
            words = met.lifted.unwrap();
            assert_eq!(meet(words, 8, IN).behind, if too_often { ALL } else { 0 }, "{hops}");
        }
    }

    /// How many frames come of one, where each program in turn sends a copy of what it asks about to
    /// the first, and the order in which they are asked may change with each round.
    fn copies(instances: &[u32], is_turned: impl Fn(usize) -> bool) -> usize {
        let mut on_their_way = VecDeque::from([[0; WORDS]]);
        let (mut round, mut arrived) = (0, 0);
        while let Some(mut words) = on_their_way.pop_front() {
            let mut order: Vec<u32> = instances.to_vec();
            if is_turned(round) {
                order.reverse();
            }
            for instance in order {
                let Met { behind, lifted } = meet(words, instance, IN);
                words = lifted.unwrap_or(words);
                if behind < 3 {
                    on_their_way.push_back(next(words, instance, IN, 3));
                }
            }
            round += 1;
            arrived += 1;
            assert!(arrived < 1_000_000, "it goes on for ever");
        }
        arrived
    }

    #[test]
    fn each_copies_once_what_comes_of_the_others() {
        for (count, expected) in [(1, 2), (2, 4), (3, 8), (6, 64)] {
            let instances: Vec<u32> = (1..=count).collect();
            assert_eq!(copies(&instances, |_| false), expected);
        }
    }

    /// Instances that take each other's stamps for their own, and an order that changes all the time.
    #[test]
    fn whatever_is_armed_it_ends() {
        for instances in [vec![7, 7], vec![1, 2], vec![1, 2, 3], vec![7, 7, 7], vec![1, 7, 7]] {
            let orders: [fn(usize) -> bool; 3] =
                [|_| false, |round| round % 2 == 1, |round| round % 3 == 0];
            for turned in orders {
                let bound = (1 + instances.len()).pow(MOST_HOPS);
                assert!(copies(&instances, turned) <= bound, "{instances:?}");
            }
        }
    }
}
