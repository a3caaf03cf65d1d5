//! Files of latencies that were measured: one a line.

use std::{collections::BTreeMap, time::Duration};

use super::{
    errors::Errors,
    mistake::Mistake,
    mistakes::Mistakes,
    model::WeightedLatency,
    value::word::{MOST_WEIGHT, weighted_latency},
};

/// What more latencies than this, or greater weights, are summed up to.
const QUANTILES: u64 = MOST_WEIGHT as u64;

/// Reads a file of latencies: one a line, spelled as in a sentence and with a weight if it is there
/// several times (`2ms*3`). What follows a `#` is a comment.
///
/// Sorted, none of them twice. Up to a thousand different ones, of which none is there more than a
/// thousand times, are given back as they are; others as a thousand quantiles.
pub fn read_latencies(text: &str) -> Result<Vec<WeightedLatency>, Errors> {
    let mut counts = BTreeMap::<Duration, u64>::new();
    let mut mistakes = Mistakes::of(text);
    let (lines, mut start) = super::without_bom(text);
    for line in lines.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim();
        if !word.is_empty() {
            match weighted_latency(word) {
                Ok(WeightedLatency { length, weight }) => {
                    *counts.entry(length).or_default() += u64::from(weight);
                }
                Err(mistake) => {
                    let at = start + (content.len() - content.trim_start().len());
                    mistakes.add(at..at + word.len(), mistake);
                }
            }
        }
        start += line.len();
    }
    if counts.is_empty() && mistakes.is_empty() {
        let mistake = Mistake::new("there is no latency here").help("one a line, such as `20ms`");
        mistakes.add(0..text.len(), mistake);
    }
    mistakes.into_errors().map_or_else(|| Ok(summed_up(counts)), Err)
}

fn summed_up(counts: BTreeMap<Duration, u64>) -> Vec<WeightedLatency> {
    let is_short = counts.len() as u64 <= QUANTILES;
    let counts = if is_short && counts.values().all(|count| *count <= QUANTILES) {
        counts
    } else {
        quantiles(&counts)
    };
    counts
        .into_iter()
        .map(|(length, count)| WeightedLatency {
            length,
            // At most as many as there are quantiles.
            weight: u16::try_from(count).unwrap_or(MOST_WEIGHT),
        })
        .collect()
}

/// The quantiles at (i + 1/2) / [`QUANTILES`], and how many of them each is.
fn quantiles(counts: &BTreeMap<Duration, u64>) -> BTreeMap<Duration, u64> {
    let total: u64 = counts.values().sum();
    let mut found = BTreeMap::<Duration, u64>::new();
    let mut so_far = 0;
    let mut next = 0;
    for (length, count) in counts {
        so_far += count;
        while next < QUANTILES && (2 * next + 1) * total <= 2 * QUANTILES * so_far {
            *found.entry(*length).or_default() += 1;
            next += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, u16)> {
        let latencies = read_latencies(text).unwrap_or_else(|errors| panic!("{errors}"));
        latencies
            .into_iter()
            .map(|latency| (u64::try_from(latency.length.as_micros()).unwrap(), latency.weight))
            .collect()
    }

    #[test]
    fn lines_are_latencies() {
        let text = "# measured\n20ms\n\n 1.5ms # twice\r\n1500us\n1s*3";
        assert_eq!(read(text), [(1_500, 2), (20_000, 1), (1_000_000, 3)]);
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let text = "20ms\n  5 # no unit\n1ms*0\n";
        let errors = read_latencies(text).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.line, error.word(text))).collect();
        assert_eq!(found, [(2, "5"), (3, "1ms*0")]);
        assert!(read_latencies("# nothing\n").unwrap_err().to_string().contains("no latency here"));
    }

    #[test]
    fn many_are_summed_up() {
        let lines = |count: u64| -> String { (1..=count).map(|us| format!("{us}us\n")).collect() };
        assert_eq!(read(&lines(1_000)).len(), 1_000);
        let found = read(&lines(10_000));
        assert_eq!(found.len(), 1_000);
        for (index, found) in (0..).zip(found) {
            assert_eq!(found, (10 * index + 5, 1));
        }
        // One that is nearly all of them.
        let text = format!("{}1h\n", "5us*1000\n".repeat(2_000));
        assert_eq!(read(&text), [(5, 1_000)]);
        let text = format!("{}1h*999\n", "5us*1000\n".repeat(9));
        assert_eq!(read(&text), [(5, 900), (Duration::from_secs(3_600).as_micros() as u64, 100)]);
    }
}
