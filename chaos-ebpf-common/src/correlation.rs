//! Delays that go on: with a chance, a frame takes what the one before it took, else one of its own.
//!
//! So every frame has the distribution that was asked for, and the correlation of neighbours is that
//! chance. netem mixes the number that chooses with the one before it instead, which pulls what is chosen
//! to the middle: at 25 %, a spread becomes three quarters of itself
//! (<https://github.com/torvalds/linux/blob/v6.12/net/sched/sch_netem.c> `get_crandom`).

use crate::hash;

/// Of the hash bits that choose, the lowest that the gate hands on: 1 where the frame takes what the one
/// before it took.
pub const KEEPS: u64 = 1 << 38;

/// Decides that, by hash bits that do not choose. `chance` in units of 2^-32; 0: the rule has none, and
/// nobody asks.
#[inline(always)]
pub fn decide(entropy: u64, chance: u32) -> u64 {
    if chance == 0 {
        return entropy;
    }
    let keeps = ((hash::mix(entropy) >> 32) as u32) < chance;
    entropy & !KEEPS | if keeps { KEEPS } else { 0 }
}

/// What chooses for the frame with these hash bits. `last` is what chose for the one before it, 0 where
/// there was none.
#[inline(always)]
pub fn go_on(last: &mut u64, entropy: u64) -> u64 {
    if *last == 0 || entropy & KEEPS == 0 {
        // The lowest bit chooses nothing.
        *last = entropy | 1;
    }
    *last
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::{distribution::Shape, hold::Hold};

    const FRAMES: u64 = 200_000;
    const MILLISECOND: u64 = 1_000_000;

    fn hold(shape: Shape) -> Hold {
        let (by, jitter) = (100 * MILLISECOND, 20 * MILLISECOND);
        Hold { by, jitter, shape: shape as u32, ..Hold::default() }
    }

    /// What the frames of a rule get, one after the other. The gate hands on 26 bits.
    fn drawn(shape: Shape, chance: f64) -> Vec<f64> {
        let chance = (chance * 2f64.powi(32)) as u32;
        let mut last = 0;
        (0..FRAMES)
            .map(|ordinal| {
                let entropy = decide(hash::mix(hash::nth(7, ordinal)), chance) >> 38 << 38;
                hold(shape).duration(go_on(&mut last, entropy)) as f64
            })
            .collect()
    }

    /// The correlation of each with the one `lag` behind it.
    fn autocorrelation(values: &[f64], lag: usize) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let covariance = |lag: usize| {
            let pairs = values.iter().zip(&values[lag..]);
            pairs.map(|(one, other)| (one - mean) * (other - mean)).sum::<f64>()
        };
        covariance(lag) / covariance(0)
    }

    #[test]
    fn neighbours_are_correlated_by_the_chance() {
        for shape in Shape::ALL {
            for chance in [0.01, 0.25, 0.5, 0.9] {
                let drawn = drawn(shape, chance);
                for lag in 1..=3 {
                    let expected = chance.powi(lag);
                    let found = autocorrelation(&drawn, lag as usize);
                    // Three standard errors are 0.007 without correlation, 0.02 with one of 0.9.
                    let error = 0.007 + 0.015 * chance;
                    assert!(
                        (found - expected).abs() < error,
                        "{shape:?}, {chance}, lag {lag}: {found} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_distribution_is_what_it_is_without() {
        let sorted = |mut drawn: Vec<f64>| {
            drawn.sort_by(f64::total_cmp);
            drawn
        };
        for shape in Shape::ALL {
            let asked: Vec<f64> = {
                let points = 1 << 16;
                let share = |index: u64| (index << 48) + (1 << 47);
                (0..points).map(|index| hold(shape).duration(share(index)) as f64).collect()
            };
            let up_to = |values: &[f64], at: f64| {
                values.partition_point(|value| *value <= at) as f64 / values.len() as f64
            };
            for chance in [0.01, 0.25, 0.5, 0.9] {
                let drawn = sorted(drawn(shape, chance));
                let distances = drawn.iter().map(|at| up_to(&drawn, *at) - up_to(&asked, *at));
                let distance = distances.fold(0.0, |most, one| f64::max(most, one.abs()));
                // As many frames as have a number of their own; one sample in a hundred is further off.
                let own = FRAMES as f64 * (1.0 - chance) / (1.0 + chance);
                assert!(distance < 1.63 / own.sqrt() + 1e-4, "{shape:?}, {chance}: {distance}");
            }
        }
    }

    #[test]
    fn runs_are_as_long_as_the_chance_makes_them() {
        let chance = 0.75;
        let drawn = drawn(Shape::Uniform, chance);
        let runs = 1 + drawn.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let length = FRAMES as f64 / runs as f64;
        assert!((length - 1.0 / (1.0 - chance)).abs() < 0.05, "{length}");
    }

    #[test]
    fn the_first_frame_has_nothing_to_keep() {
        let mut last = 0;
        let first = go_on(&mut last, 5 << 39 | KEEPS);
        assert_eq!(first >> 38, 5 << 1 | 1);
        assert_eq!(go_on(&mut last, 9 << 39 | KEEPS), first);
        assert_eq!(go_on(&mut last, 9 << 39) >> 38, 9 << 1);
        // Nothing but zeroes is something to keep, too.
        assert_eq!(go_on(&mut last, 0), 1);
        assert_eq!(go_on(&mut last, 9 << 39 | KEEPS), 1);
    }
}
