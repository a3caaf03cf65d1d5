//! How long the keeper goes on with one thing before it looks after the others.

use std::time::{Duration, Instant};

/// A bounded time for work that can be taken up again later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    until: Instant,
}

impl Turn {
    pub(super) fn of(duration: Duration) -> Self {
        Self { until: Instant::now() + duration }
    }

    /// A turn of this length that is over when this one is, at the latest.
    pub(super) fn part(self, duration: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + duration) }
    }

    pub(super) fn is_over(self) -> bool {
        Instant::now() >= self.until
    }
}

/// Drops these one after the other, at least one, until the turn is over; whether all are gone.
pub(super) fn drop_within<T>(turn: Turn, things: &mut Vec<T>) -> bool {
    while let Some(thing) = things.pop() {
        drop(thing);
        if turn.is_over() {
            break;
        }
    }
    things.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_over_still_gets_one_thing_done() {
        let mut things = vec![1, 2, 3];
        let over = Turn::of(Duration::ZERO);
        assert!(!drop_within(over, &mut things));
        assert_eq!(things, [1, 2]);
        assert!(drop_within(Turn::of(Duration::from_secs(60)), &mut things));
        assert!(drop_within(over, &mut things));
        assert!(over.part(Duration::from_secs(60)).is_over());
    }
}
