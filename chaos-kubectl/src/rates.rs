//! Measures how fast counts grow between two looks. Pure: moments are given.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A controller writes counts every three seconds; one that has not moved for longer stands still.
const PATIENCE: Duration = Duration::from_secs(12);

/// The counts of Runs, by their UIDs.
#[derive(Debug, Default)]
pub struct Rates {
    counts: BTreeMap<String, Count>,
}

#[derive(Debug)]
struct Count {
    value: u64,
    at: Instant,
    rate: Option<f64>,
}

impl Rates {
    /// Notes a count.
    pub fn note(&mut self, uid: &str, value: u64, now: Instant) {
        match self.counts.get_mut(uid) {
            Some(count) if count.value == value => {}
            Some(count) => {
                // Of a count that stood still for longer, nobody knows when it began to grow: not long ago.
                let since = now.saturating_duration_since(count.at).min(PATIENCE);
                let seconds = since.as_secs_f64();
                // An agent that was started again has counted anew.
                let grown = value.checked_sub(count.value);
                let rate = grown.filter(|_| seconds > 0.0).map(|grown| grown as f64 / seconds);
                *count = Count { value, at: now, rate };
            }
            None => {
                self.counts.insert(uid.to_owned(), Count { value, at: now, rate: None });
            }
        }
    }

    /// How fast it grows in a second; nothing before the second count.
    pub fn of(&self, uid: &str, now: Instant) -> Option<f64> {
        let count = self.counts.get(uid)?;
        let is_old = now.saturating_duration_since(count.at) > PATIENCE;
        if is_old { Some(0.0) } else { count.rate }
    }

    /// Forgets all but those that `is_there` knows.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.counts.retain(|uid, _| is_there(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_between_two_counts() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut rates = Rates::default();
        rates.note("a", 100, at(0));
        assert_eq!(rates.of("a", at(1)), None);
        rates.note("a", 100, at(2));
        rates.note("a", 400, at(3));
        assert_eq!(rates.of("a", at(4)), Some(100.0));
        assert_eq!(rates.of("a", at(16)), Some(0.0));
        rates.note("a", 10, at(17));
        assert_eq!(rates.of("a", at(17)), None);
        // It stood still for a long time: the rate is that of now, not of all that time.
        rates.note("a", 10, at(500));
        rates.note("a", 1210, at(501));
        assert_eq!(rates.of("a", at(501)), Some(100.0));
        rates.retain(|uid| uid == "b");
        assert_eq!(rates.of("a", at(501)), None);
    }
}
