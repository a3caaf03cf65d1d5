//! Shapes of jitter, as netem has them: tables of the inverse distribution function, looked up with
//! hash bits. No floats at run time.
//!
//! A table entry is a deviation from the mean in units of the jitter, times [`SCALE`]. The tables
//! are made at build time from the definitions of iproute2's `normal.c`, `pareto.c` and
//! `paretonormal.c` (<https://github.com/iproute2/iproute2/tree/main/netem>): the Pareto
//! distribution has the index 3 and is shifted and scaled to mean 0 and deviation 1 (its variance
//! is 3/4, so by 3/2 and nearly 4/3, which is netem's choice); `paretonormal` adds a quarter of the
//! normal quantile to three quarters of the Pareto quantile. Like netem's, entries end at what 16
//! bits hold, 4 times the jitter.
//!
//! Entry `i` is the quantile at (i + 1/2) / 4096, where netem takes points between i / 4096 and
//! (i + 1) / 4096 that differ from table to table; so the normal distribution here has mean 0.

/// How many quantiles a table has.
pub const QUANTILES: usize = 1 << QUANTILE_BITS;
/// Hash bits that choose one.
pub const QUANTILE_BITS: u32 = 12;

/// What stands for one jitter in a table (`NETEM_DIST_SCALE`), as a power of two.
pub const SCALE_BITS: u32 = 13;
/// What stands for one jitter in a table.
pub const SCALE: i64 = 1 << SCALE_BITS;

/// Quantiles of a distribution, rising.
pub type Table = [i16; QUANTILES];

/// The shape of a jitter.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Every deviation up to the jitter is as likely as any other.
    Uniform = 0,
    Normal = 1,
    Pareto = 2,
    ParetoNormal = 3,
}

impl Shape {
    /// Every shape, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Normal, Self::Pareto, Self::ParetoNormal];
}

/// The normal distribution.
pub static NORMAL: Table = normal();
/// The Pareto distribution of index 3: a long tail to the right.
pub static PARETO: Table = pareto();
/// A quarter normal, three quarters Pareto: like measured round trips.
pub static PARETO_NORMAL: Table = pareto_normal();

/// The share of the distribution that is below entry `index`.
const fn share(index: usize) -> f64 {
    (index as f64 + 0.5) / QUANTILES as f64
}

const fn entry(quantile: f64) -> i16 {
    let scaled = quantile * SCALE as f64;
    // A cast ends at the bounds of the type, as netem's tables do.
    if scaled < 0.0 { (scaled - 0.5) as i16 } else { (scaled + 0.5) as i16 }
}

const fn normal() -> Table {
    let mut table = [0; QUANTILES];
    let mut index = QUANTILES / 2;
    let mut quantile = 0.0;
    while index < QUANTILES {
        quantile = normal_quantile(share(index), quantile);
        table[index] = entry(quantile);
        table[QUANTILES - 1 - index] = -table[index];
        index += 1;
    }
    table
}

const fn pareto() -> Table {
    let mut table = [0; QUANTILES];
    let mut index = 0;
    while index < QUANTILES {
        table[index] = entry(pareto_quantile(share(index)));
        index += 1;
    }
    table
}

/// Like netem from the finished tables, so that the tail ends where theirs does.
const fn pareto_normal() -> Table {
    let (normal, pareto) = (normal(), pareto());
    let mut table = [0; QUANTILES];
    let mut index = 0;
    while index < QUANTILES {
        let mixed = 0.25 * normal[index] as f64 + 0.75 * pareto[index] as f64;
        table[index] = entry(mixed / SCALE as f64);
        index += 1;
    }
    table
}

/// 1 / cbrt(1 - share), shifted and scaled. The root by Newton's method, which comes from below.
const fn pareto_quantile(share: f64) -> f64 {
    let rest = 1.0 - share;
    let mut root = 1.0;
    let mut round = 0;
    while round < 24 {
        root *= (4.0 - rest * root * root * root) / 3.0;
        round += 1;
    }
    (root - 1.5) * 4.0 / 3.0
}

/// By Newton's method from a guess that is near.
const fn normal_quantile(share: f64, guess: f64) -> f64 {
    let mut quantile = guess;
    let mut round = 0;
    while round < 4 {
        let density = normal_density(quantile);
        quantile -= (0.5 + normal_integral(quantile, density) - share) / density;
        round += 1;
    }
    quantile
}

/// exp(-x²/2) / sqrt(2π), by the series of exp(x²/2), all of whose terms are positive.
const fn normal_density(x: f64) -> f64 {
    const ROOT_OF_TWO_PI: f64 = 2.506_628_274_631_000_2;
    let half = x * x / 2.0;
    let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= half / n;
        sum += term;
        n += 1.0;
    }
    1.0 / (sum * ROOT_OF_TWO_PI)
}

/// The integral of the density from 0 to `x`: density × (x + x³/3 + x⁵/(3·5) + …).
const fn normal_integral(x: f64, density: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 3.0);
    while term > sum * 1e-17 {
        term *= x * x / odd;
        sum += term;
        odd += 2.0;
    }
    density * sum
}

#[cfg(test)]
mod tests;
