extern crate std;

use std::{vec, vec::Vec};

use statrs::distribution::{ContinuousCDF, Normal};

use super::*;

/// Beyond this, tables have what 16 bits hold.
const LAST: f64 = i16::MAX as f64 / SCALE as f64;

fn normal_share(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

fn pareto_share(x: f64) -> f64 {
    let value = x * 3.0 / 4.0 + 1.5;
    if value < 1.0 { 0.0 } else { 1.0 - value.powi(-3) }
}

/// How far the distribution of a table is from one that ends at [`LAST`] (Kolmogorov-Smirnov).
fn distance(table: &[i16], share: impl Fn(f64) -> f64) -> f64 {
    let size = table.len() as f64;
    // Half a unit, as entries are rounded.
    let at = |value: i16, half: f64| {
        let x = (f64::from(value) + half) / SCALE as f64;
        if x >= LAST { 1.0 } else { share(x) }
    };
    table
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let (below, above) = (index as f64 / size, (index + 1) as f64 / size);
            (at(*value, -0.5) - above).max(below - at(*value, 0.5))
        })
        .fold(0.0, f64::max)
}

/// The same between two tables.
fn distance_between(one: &[i16], other: &[i16]) -> f64 {
    let below = |table: &[i16], value: i16| {
        table.partition_point(|entry| *entry < value) as f64 / table.len() as f64
    };
    let values = one.iter().chain(other);
    values.map(|value| (below(one, *value) - below(other, *value)).abs()).fold(0.0, f64::max)
}

/// `for (x = -10.0; x < 10.05; x += .00005) { i = rint(TABLESIZE * normal(x, 0.0, 1.0)); table[i] = … }`
fn netem_scan(entry: impl Fn(usize, f64) -> f64) -> Vec<i16> {
    const SIZE: usize = 16_384;
    let mut table = vec![0.0; SIZE + 1];
    let mut x = -10.0;
    while x < 10.05 {
        let index = (SIZE as f64 * normal_share(x)).round() as usize;
        table[index] = entry(index, x);
        x += 0.000_05;
    }
    // `for (i = n = 0; i < TABLESIZE; i += 4)`
    table[..SIZE].iter().step_by(4).map(|value| value.round().max(-32_768.0) as i16).collect()
}

/// `1.0 / pow(i / 65536, 1.0 / a)`, moved, scaled, and cut at 32767.
fn netem_pareto_value(i: usize) -> f64 {
    let value = 1.0 / (i as f64 / 65_536.0).powf(1.0 / 3.0);
    ((value - 1.5) * 4.0 / 3.0 * SCALE as f64).min(32_767.0).round()
}

#[test]
fn the_normal_table_is_the_normal_distribution() {
    assert!(NORMAL.is_sorted());
    assert!(distance(&NORMAL, normal_share) < 0.51 / QUANTILES as f64);
    let netem = netem_scan(|_, x| x * SCALE as f64);
    assert_eq!((netem[1], netem[2047], netem[4095]), (-28_307, -5, 28_858));
    assert!(distance(&netem, normal_share) < 1.01 / QUANTILES as f64);
    // Their points are 3/8 of a step before ours.
    assert!(distance_between(&NORMAL, &netem) < 1.01 / QUANTILES as f64);
    assert_eq!(NORMAL.iter().map(|value| i64::from(*value)).sum::<i64>(), 0);
}

#[test]
fn the_pareto_table_is_the_pareto_distribution() {
    assert!(PARETO.is_sorted());
    assert!(distance(&PARETO, pareto_share) < 0.51 / QUANTILES as f64);
    let netem: Vec<i16> =
        (1..=QUANTILES).rev().map(|i| netem_pareto_value(16 * i) as i16).collect();
    assert_eq!((netem[0], netem[1], netem[2047], netem[4095]), (-5_461, -5_460, -2_625, 32_767));
    assert!(distance_between(&PARETO, &netem) < 1.01 / QUANTILES as f64);
}

#[test]
fn the_mixed_table_is_netems() {
    assert!(PARETO_NORMAL.is_sorted());
    let netem = netem_scan(|i, x| {
        0.25 * x * SCALE as f64 + 0.75 * netem_pareto_value((65_536 - 4 * i).max(1))
    });
    // As in the file that iproute2 installs, but for the last digit of a sum of 400,000 steps.
    for (index, installed) in [(1, -11_171), (2047, -1_970), (4095, 31_789i16)] {
        assert!(netem[index].abs_diff(installed) <= 1, "{index}: {}", netem[index]);
    }
    assert!(distance_between(&PARETO_NORMAL, &netem) < 1.01 / QUANTILES as f64);
}

#[test]
fn a_table_that_is_off_is_told_from_a_right_one() {
    let moved = NORMAL.map(|value| value.saturating_add(82));
    assert!(distance(&moved, normal_share) > 0.003);
    assert!(distance_between(&moved, &NORMAL) > 0.003);
    assert!(distance(&PARETO, normal_share) > 0.1);
}
