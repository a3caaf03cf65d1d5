//! When something arrived.

use serde::{Deserialize, Serialize};

/// When the first part came and when the last did, in nanoseconds of [`crate::clock::boottime_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub first: u64,
    pub last: u64,
    /// Bytes that the first part had.
    pub first_bytes: u64,
}

impl Arrival {
    /// Notes a part that has come now.
    pub fn note(noted: &mut Option<Self>, now: u64, bytes: u64) {
        match noted {
            Some(arrival) => arrival.last = now,
            None => *noted = Some(Self { first: now, last: now, first_bytes: bytes }),
        }
    }

    /// How fast `bytes` came in all: the first part was there when the time began.
    pub fn bits_per_second(&self, bytes: u64) -> f64 {
        let seconds = (self.last - self.first) as f64 / 1e9;
        (bytes - self.first_bytes) as f64 * 8.0 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_begins_the_time() {
        let mut arrival = None;
        for (now, bytes) in [(5_000_000_000, 100), (6_000_000_000, 50), (7_000_000_000, 50)] {
            Arrival::note(&mut arrival, now, bytes);
        }
        assert_eq!(arrival.unwrap().bits_per_second(200), 400.0);
    }
}
