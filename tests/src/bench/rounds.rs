//! Variants that take turns, so that drift of the machine falls on all of them alike.

use anyhow::{Context, Result};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: u32,
    /// Batches that a variant runs in one round.
    pub batches: u32,
    /// How often something is done that takes milliseconds.
    pub repetitions: u32,
}

impl Effort {
    pub const FULL: Self = Self { rounds: 12, batches: 400, repetitions: 20 };
    pub const QUICK: Self = Self { rounds: 1, batches: 3, repetitions: 1 };
}

/// One figure for each round.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn median(&self) -> f64 {
        median(&mut self.0.clone())
    }

    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn greatest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Round by round, as a ratio to `base`.
    pub fn over(&self, base: &Self) -> Self {
        Self(self.0.iter().zip(&base.0).map(|(figure, base)| figure / base).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// Runs `count` variants `rounds` times, each round beginning with another one; `measure` is given
/// the number of the variant.
pub fn alternate(
    rounds: u32,
    count: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<Vec<Samples>> {
    let mut samples = vec![Vec::with_capacity(rounds as usize); count];
    for round in 0..rounds as usize {
        for turn in 0..count {
            let variant = (round + turn) % count;
            let figure =
                measure(variant).with_context(|| format!("round {round}, variant {variant}"))?;
            samples[variant].push(figure);
        }
    }
    Ok(samples.into_iter().map(Samples).collect())
}

/// The middle of `figures`, which are sorted on the way; NaN where there are none.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[length / 2],
        length => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn every_variant_has_every_turn_and_ratios_are_within_the_round() {
        let mut order = Vec::new();
        // The machine gets slower from round to round; variant 2 takes twice as long as the others.
        let samples = alternate(3, 3, |variant| {
            let round = order.len() / 3 + 1;
            order.push(variant);
            Ok(if variant == 2 { 2.0 } else { 1.0 } * round as f64)
        });
        let samples = samples.unwrap();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(samples[1], Samples(vec![1.0, 2.0, 3.0]));
        assert_eq!(samples[2].over(&samples[1]), Samples(vec![2.0; 3]));
        assert_eq!(
            (samples[2].least(), samples[2].median(), samples[2].greatest()),
            (2.0, 4.0, 6.0)
        );
    }
}
