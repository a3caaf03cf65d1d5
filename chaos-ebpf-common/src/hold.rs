//! How long a frame is held back.

use crate::distribution::{
    self, NORMAL, PARETO, PARETO_NORMAL, QUANTILE_BITS, QUANTILES, SCALE, SCALE_BITS, Shape,
};

/// Longer than this nothing is held, in nanoseconds: a minute.
pub const LONGEST_HOLD: u64 = 60 * 1_000_000_000;

/// How long a frame waits at most for those before it, where a rule with a rate does not say, in
/// nanoseconds: a second.
pub const DEFAULT_QUEUE: u64 = 1_000_000_000;

/// The largest frame, with its headers, in bytes.
pub const LARGEST_FRAME: u32 = 65_536;

/// Slower than this, in bits per second, a frame of 64 KiB would take longer than [`LONGEST_HOLD`].
pub const SLOWEST_RATE: u64 = 10_000;

/// What a rule that holds frames back asks for.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Hold {
    /// The mean, in nanoseconds.
    pub by: u64,
    /// How far it is spread, in nanoseconds; 0 = not at all.
    pub jitter: u64,
    /// Bits per second, for a rule with a rate; what is drawn is 0 then.
    pub rate: u64,
    /// How long a frame waits at most for those before it (ns), for a rule with a rate.
    pub queue: u64,
    /// Number of the [`Shape`] of the spread.
    pub shape: u32,
    /// 1: every flow has the rate to itself ([`flows`](crate::flows)).
    pub per_flow: u32,
    /// Tells the rule from others that had its slot before.
    pub generation: u32,
    /// 1: the rule has a correlation, and its hash bits say so ([`correlation`](crate::correlation)).
    pub correlated: u32,
    /// 1: the rule picks from a table of latencies ([`latencies`](crate::latencies)).
    pub from_table: u32,
    pub padding: u32,
}

impl Hold {
    /// Nanoseconds that the frame with these hash bits is held, from 0 to [`LONGEST_HOLD`]. The upper
    /// 26 bits choose; what a distribution has below zero is zero, as with netem.
    #[inline(always)]
    pub fn duration(&self, entropy: u64) -> u64 {
        let by = clamp(self.by);
        let jitter = clamp(self.jitter);
        if jitter == 0 {
            return by;
        }
        if self.shape == Shape::Uniform as u32 {
            // Below 2^63: twice a minute has 37 bits.
            let above_least = (2 * jitter * (entropy >> 38)) >> 26;
            return clamp((by + above_least).saturating_sub(jitter));
        }
        let deviation = quantile(self.shape, entropy);
        let spread = (jitter * deviation.unsigned_abs() as u64 + SCALE as u64 / 2) >> SCALE_BITS;
        clamp(if deviation < 0 { by.saturating_sub(spread) } else { by + spread })
    }
}

impl Hold {
    /// Nanoseconds that a frame takes at the rate.
    #[inline(always)]
    pub fn transmission(&self, bytes: u32) -> u64 {
        (bytes as u64 * (8 * 1_000_000_000)).checked_div(self.rate).map_or(0, clamp)
    }
}

/// Lets a frame leave that takes so long, behind those that are still to leave: nanoseconds from now
/// until it has left. `None` where it would wait for those for longer than `queue` (ns). `last`: when the
/// last one will have left.
///
/// As on a line of that rate: a frame arrives when all of it has, and what comes after a pause waits
/// for nobody.
#[inline(always)]
pub fn depart(last: &mut u64, transmission: u64, queue: u64, now: u64) -> Option<u64> {
    let begins = if *last > now { *last } else { now };
    if begins - now > queue {
        return None;
    }
    *last = begins + transmission;
    Some(*last - now)
}

/// The deviation that the upper bits choose.
#[inline(always)]
fn quantile(shape: u32, entropy: u64) -> i16 {
    let table: &distribution::Table = if shape == Shape::Normal as u32 {
        &NORMAL
    } else if shape == Shape::Pareto as u32 {
        &PARETO
    } else {
        &PARETO_NORMAL
    };
    table[(entropy >> (64 - QUANTILE_BITS)) as usize & (QUANTILES - 1)]
}

#[inline(always)]
fn clamp(duration: u64) -> u64 {
    if duration > LONGEST_HOLD { LONGEST_HOLD } else { duration }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Hold {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::hash;

    const MILLISECOND: u64 = 1_000_000;

    fn hold(by: u64, jitter: u64, shape: Shape) -> Hold {
        Hold { by, jitter, shape: shape as u32, ..Hold::default() }
    }

    /// What the first frames of a rule get, sorted.
    fn drawn(hold: Hold) -> Vec<u64> {
        let mut drawn: Vec<u64> =
            (0..100_000).map(|ordinal| hold.duration(hash::nth(7, ordinal))).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn map_values_have_no_implicit_padding() {
        assert_eq!(size_of::<Hold>(), 4 * 8 + 6 * 4);
    }

    #[test]
    fn without_jitter_it_is_constant() {
        for shape in Shape::ALL {
            let drawn = drawn(hold(100 * MILLISECOND, 0, shape));
            assert!(drawn.iter().all(|one| *one == 100 * MILLISECOND));
        }
    }

    #[test]
    fn uniform_is_even_between_the_bounds() {
        let drawn = drawn(hold(100 * MILLISECOND, 20 * MILLISECOND, Shape::Uniform));
        let (least, most) = (drawn[0], drawn[drawn.len() - 1]);
        assert!((80 * MILLISECOND..81 * MILLISECOND).contains(&least), "{least}");
        assert!((119 * MILLISECOND..120 * MILLISECOND).contains(&most), "{most}");
        for (index, value) in drawn.iter().enumerate() {
            let share = (*value as f64 / MILLISECOND as f64 - 80.0) / 40.0;
            // 1.63 / sqrt(100,000): one in a hundred samples is further off.
            assert!((share - index as f64 / drawn.len() as f64).abs() < 0.0052, "{index}");
        }
    }

    #[test]
    fn quartiles_are_those_of_the_distributions() {
        // Quantiles at 1/4, 1/2 and 3/4, in jitters.
        for (shape, quartiles) in [
            (Shape::Normal, [-0.6745, 0.0, 0.6745]),
            (Shape::Pareto, [-0.5325, -0.3201, 0.1165]),
            (Shape::ParetoNormal, [-0.5680, -0.2401, 0.2560]),
        ] {
            let drawn = drawn(hold(100 * MILLISECOND, 20 * MILLISECOND, shape));
            for (part, expected) in (1..).zip(quartiles) {
                let found = (drawn[part * drawn.len() / 4] as f64 / 1e6 - 100.0) / 20.0;
                assert!((found - expected).abs() < 0.02, "{shape:?}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn frames_leave_one_behind_the_other() {
        let hold = Hold { rate: 1_000_000, ..Hold::default() };
        let transmission = hold.transmission(1_250);
        assert_eq!(transmission, 10 * MILLISECOND);
        let (mut last, now) = (0, 1_000 * MILLISECOND);
        let send = |last: &mut u64, now| depart(last, transmission, DEFAULT_QUEUE, now);
        let holds: Vec<_> = (0..3).map(|_| send(&mut last, now)).collect();
        assert_eq!(holds, [10, 20, 30].map(|hold| Some(hold * MILLISECOND)));
        // After a pause.
        let later = now + 500 * MILLISECOND;
        assert_eq!(send(&mut last, later), Some(transmission));
    }

    #[test]
    fn a_backlog_ends_somewhere() {
        let slowest = Hold { rate: SLOWEST_RATE, ..Hold::default() };
        let transmission = slowest.transmission(LARGEST_FRAME);
        assert!((50_000 * MILLISECOND..LONGEST_HOLD).contains(&transmission));
        for queue in [DEFAULT_QUEUE, 50 * MILLISECOND] {
            let mut last = 0;
            assert_eq!(depart(&mut last, transmission, queue, 1), Some(transmission));
            assert_eq!(depart(&mut last, transmission, queue, 1), None);
            let now = last - queue;
            assert_eq!(depart(&mut last, transmission, queue, now - 1), None);
            assert_eq!(depart(&mut last, 1, queue, now), Some(queue + 1));
        }
    }

    proptest! {
        #[test]
        fn no_more_leaves_than_the_rate(
            rate in SLOWEST_RATE..1_000_000_000_000,
            queue in 1..2 * DEFAULT_QUEUE,
            frames in prop::collection::vec((60..65_536u32, 0..100_000_000u64), 1..50),
        ) {
            let hold = Hold { rate, ..Hold::default() };
            let (mut last, mut now, mut least) = (0, 1, 0);
            for (bytes, pause) in frames {
                now += pause;
                let transmission = hold.transmission(bytes);
                if let Some(held) = depart(&mut last, transmission, queue, now) {
                    // Its own time at least, and not before the one ahead of it.
                    prop_assert!(held >= transmission);
                    prop_assert!(now + held >= least + transmission);
                    prop_assert!(held <= queue + transmission);
                    least = now + held;
                } else {
                    prop_assert!(least - now > queue);
                }
            }
        }

        #[test]
        fn it_stays_within_bounds(by: u64, jitter: u64, shape in 0..5u32, entropy: u64) {
            let hold = Hold { by, jitter, shape, ..Hold::default() };
            prop_assert!(hold.duration(entropy) <= LONGEST_HOLD);
        }

        #[test]
        fn more_entropy_is_more_delay(one: u64, other: u64, shape in 0..4u32) {
            let hold =
                Hold { by: 50 * MILLISECOND, jitter: 10 * MILLISECOND, shape, ..Hold::default() };
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(hold.duration(less) <= hold.duration(more));
        }
    }
}
