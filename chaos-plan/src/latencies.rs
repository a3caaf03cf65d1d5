//! Latencies and their weights as a table for the kernel.

use chaos_ebpf_common::latencies::{COLUMNS, Column, Table, WHOLE};
use chaos_fault::{Latency, Spread, WeightedLatency};

use super::{nanoseconds, refusal::Objection};

/// The latencies of which one is picked, where there are several.
pub(super) fn of(latency: &Latency) -> Option<&[WeightedLatency]> {
    match &latency.spread {
        Spread::OneOf(latencies) | Spread::File { latencies, .. } => Some(latencies),
        Spread::Around { .. } => None,
    }
}

/// Whether they are known, and a table has room for them.
pub(super) fn check(latency: &Latency) -> Result<(), Objection> {
    if let Spread::File { path, latencies } = &latency.spread
        && latencies.is_empty()
    {
        return Err(Objection::new(format!(
            "`from file {path}`: files of latencies are read by the command line, never by an agent \
             for others"
        ))
        .remedy("write the latencies out: `delay 1ms, 2ms*3, 40ms`"));
    }
    let count = of(latency).map_or(0, <[_]>::len);
    if count > COLUMNS {
        return Err(Objection::new(format!(
            "{count} latencies to pick from, and a rule has room for {COLUMNS}"
        ))
        .remedy("put them in a file, which is summed up: `delay from file latencies.txt`"));
    }
    Ok(())
}

/// The table from which each is picked as often as its weight says (M. D. Vose, "A linear algorithm for
/// generating random numbers with a given distribution", IEEE TSE 17, 1991): a column that its own
/// latency does not fill gets the rest from one that has too much.
pub fn table(latencies: &[WeightedLatency]) -> Table {
    let total: u64 = latencies.iter().map(|latency| u64::from(latency.weight)).sum();
    let mut columns = [Column::default(); COLUMNS];
    // A column holds `total`; what each latency has is its weight, as often as there are columns.
    let mut left: Vec<(u64, u64)> = latencies
        .iter()
        .map(|latency| (nanoseconds(latency.length), u64::from(latency.weight) * COLUMNS as u64))
        .collect();
    left.resize(COLUMNS, (0, 0));
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..COLUMNS).partition(|column| left[*column].1 < total);
    while let Some(column) = small.pop() {
        // What is missing in some columns is what others have too much.
        let Some(&donor) = large.last() else { break };
        let (own, has) = left[column];
        columns[column] = Column::new(own, (has * WHOLE + total / 2) / total.max(1), left[donor].0);
        left[donor].1 -= total - has;
        if left[donor].1 < total {
            large.pop();
            small.push(donor);
        }
    }
    for column in large {
        columns[column] = Column::new(left[column].0, WHOLE, 0);
    }
    Table { columns }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use chaos_ebpf_common::hash;
    use proptest::prelude::*;

    use super::*;

    fn latencies(weights: impl IntoIterator<Item = u16>) -> Vec<WeightedLatency> {
        (1..)
            .zip(weights)
            .map(|(index, weight)| WeightedLatency { length: Duration::from_millis(index), weight })
            .collect()
    }

    /// Of all that hash bits can choose, how often each latency is picked.
    fn shares(table: &Table) -> BTreeMap<u64, f64> {
        let mut shares = BTreeMap::new();
        for column in 0..COLUMNS as u64 {
            let at = |point: u64| table.pick(column << 54 | point << 38);
            let (first, last) = (at(0), at(WHOLE - 1));
            let (mut own, mut rest) = (0, WHOLE);
            while own < rest {
                let middle = (own + rest) / 2;
                if at(middle) == first { own = middle + 1 } else { rest = middle }
            }
            *shares.entry(first).or_default() += own as f64;
            *shares.entry(last).or_default() += (WHOLE - own) as f64;
        }
        shares.values_mut().for_each(|share| *share /= (COLUMNS as u64 * WHOLE) as f64);
        shares
    }

    #[test]
    fn each_is_picked_as_often_as_its_weight_says() {
        for weights in [vec![1, 3, 1], vec![1000, 1, 1], vec![1; COLUMNS], vec![7], vec![1, 1000]] {
            let latencies = latencies(weights);
            let total: f64 = latencies.iter().map(|latency| f64::from(latency.weight)).sum();
            let shares = shares(&table(&latencies));
            assert_eq!(shares.len(), latencies.len());
            for latency in latencies {
                let found = shares[&nanoseconds(latency.length)];
                let asked = f64::from(latency.weight) / total;
                assert!((found - asked).abs() < 2e-8 * COLUMNS as f64, "{latency:?}: {found}");
            }
        }
    }

    #[test]
    fn frames_get_the_distribution() {
        let latencies = latencies((0..1000).map(|index| 1 + index % 17));
        let total: f64 = latencies.iter().map(|latency| f64::from(latency.weight)).sum();
        let table = table(&latencies);
        const FRAMES: u64 = 100_000;
        let mut picked: Vec<u64> =
            (0..FRAMES).map(|ordinal| table.pick(hash::mix(hash::nth(7, ordinal)))).collect();
        picked.sort_unstable();
        let mut below = 0.0;
        for latency in &latencies {
            below += f64::from(latency.weight) / total;
            let found = picked.partition_point(|one| *one <= nanoseconds(latency.length)) as f64;
            // 1.63 / sqrt(100,000): one sample in a hundred is further off.
            assert!((found / FRAMES as f64 - below).abs() < 0.0052, "{latency:?}: {found}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn nothing_else_is_picked(weights in prop::collection::vec(1..=1000u16, 1..=COLUMNS), entropy: [u64; 32]) {
            let latencies = latencies(weights);
            let table = table(&latencies);
            for entropy in entropy {
                let picked = table.pick(entropy);
                prop_assert!(latencies.iter().any(|latency| nanoseconds(latency.length) == picked));
            }
        }
    }
}
