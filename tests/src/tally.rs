//! What came of repeated attempts, as the process that made them saw it.

use std::{collections::BTreeMap, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::{clock::boottime_ns, ordinals::Ordinals};

/// The name under which a wait that ended without an answer is counted.
pub const TIMEOUT: &str = "TIMEOUT";

/// How many attempts succeeded and how many failed with which errno.
/// Times are those of the attempt's end, in nanoseconds of [`boottime_ns`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub ok: u64,
    /// By errno name (`ECONNREFUSED`), or [`TIMEOUT`].
    pub errors: BTreeMap<String, u64>,
    pub first_ok_at: Option<u64>,
    pub last_ok_at: Option<u64>,
    pub first_error_at: Option<u64>,
    pub last_error_at: Option<u64>,
}

impl Tally {
    pub fn record<T>(&mut self, result: &io::Result<T>) {
        let now = boottime_ns();
        match result {
            Ok(_) => {
                self.ok += 1;
                self.first_ok_at.get_or_insert(now);
                self.last_ok_at = Some(now);
            }
            Err(error) => {
                *self.errors.entry(error_name(error)).or_default() += 1;
                self.first_error_at.get_or_insert(now);
                self.last_error_at = Some(now);
            }
        }
    }

    /// How many attempts failed with the errno of this name.
    pub fn failed_with(&self, errno: &str) -> u64 {
        self.errors.get(errno).copied().unwrap_or(0)
    }

    /// How many attempts failed, whatever the errno.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub fn attempts(&self) -> u64 {
        self.ok + self.failed()
    }

    fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        for (errno, count) in &other.errors {
            *self.errors.entry(errno.clone()).or_default() += count;
        }
        self.first_ok_at = earliest(self.first_ok_at, other.first_ok_at);
        self.last_ok_at = self.last_ok_at.max(other.last_ok_at);
        self.first_error_at = earliest(self.first_error_at, other.first_error_at);
        self.last_error_at = self.last_error_at.max(other.last_error_at);
    }
}

/// Attempts made one after the other: those of one thread, or the datagrams of one flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub tally: Tally,
    /// Which attempts failed, counted from zero.
    pub failed: Ordinals,
}

impl Lane {
    pub fn record<T>(&mut self, result: &io::Result<T>) {
        if result.is_err() {
            self.failed.insert(self.tally.attempts());
        }
        self.tally.record(result);
    }
}

/// What a job that repeats one attempt reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    pub lanes: Vec<Lane>,
}

impl Attempts {
    pub fn total(&self) -> Tally {
        self.lanes.iter().fold(Tally::default(), |mut sum, lane| {
            sum.add(&lane.tally);
            sum
        })
    }
}

/// The errno's name, as in errno(3).
pub fn error_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None if error.kind() == io::ErrorKind::TimedOut => TIMEOUT.to_owned(),
        None => format!("{:?}", error.kind()),
    }
}

fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_errno_and_remembers_which() {
        let mut lane = Lane::default();
        lane.record(&Ok(()));
        lane.record::<()>(&Err(Errno::ECONNREFUSED.into()));
        lane.record::<()>(&Err(io::ErrorKind::TimedOut.into()));
        lane.record::<()>(&Err(Errno::ECONNREFUSED.into()));
        assert_eq!(lane.tally.ok, 1);
        assert_eq!(lane.tally.failed_with("ECONNREFUSED"), 2);
        assert_eq!(lane.tally.failed_with(TIMEOUT), 1);
        assert_eq!(lane.failed.iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(lane.tally.first_error_at <= lane.tally.last_error_at);
    }

    #[test]
    fn totals_add_lanes_and_widen_times() {
        let early = Lane {
            tally: Tally { ok: 2, first_ok_at: Some(5), last_ok_at: Some(9), ..Tally::default() },
            ..Lane::default()
        };
        let late = Lane {
            tally: Tally {
                ok: 3,
                errors: BTreeMap::from([("EIO".to_owned(), 1)]),
                first_ok_at: Some(7),
                last_ok_at: Some(11),
                first_error_at: Some(8),
                last_error_at: Some(8),
            },
            ..Lane::default()
        };
        let total = Attempts { lanes: vec![early, late] }.total();
        assert_eq!((total.ok, total.failed(), total.attempts()), (5, 1, 6));
        assert_eq!((total.first_ok_at, total.last_ok_at), (Some(5), Some(11)));
        assert_eq!((total.first_error_at, total.last_error_at), (Some(8), Some(8)));
    }
}
