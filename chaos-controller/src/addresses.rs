//! Keeps the addresses that a step goes by for a while, so that a Service whose endpoints come one by one does not have
//! every pod written each time.

use std::collections::BTreeMap;

use chaos_fault::Fault;
use jiff::{SignedDuration, Timestamp};

use crate::peers::PeerError;

/// Between two changes of the addresses of a step.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The faults of steps with addresses in place of names, by the run's UID and the step.
#[derive(Debug, Default)]
pub struct Addresses {
    known: BTreeMap<(String, String), Known>,
}

#[derive(Debug)]
struct Known {
    since: Timestamp,
    faults: Vec<Fault>,
}

impl Addresses {
    /// The faults that a step goes by now. `found` are those of this moment; where a name stands for nothing now, those
    /// before hold on.
    pub fn adopt(
        &mut self,
        (run_uid, step): (&str, &str),
        found: Result<Vec<Fault>, PeerError>,
        now: Timestamp,
    ) -> Result<Vec<Fault>, PeerError> {
        let key = (run_uid.to_owned(), step.to_owned());
        match (found, self.known.get_mut(&key)) {
            (Ok(faults), None) => {
                self.known.insert(key, Known { since: now, faults: faults.clone() });
                Ok(faults)
            }
            (Ok(faults), Some(known)) => {
                if known.faults != faults && now.duration_since(known.since) >= PAUSE {
                    *known = Known { since: now, faults };
                }
                Ok(known.faults.clone())
            }
            (Err(_), Some(known)) => Ok(known.faults.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.known.retain(|(run_uid, _), _| is_live(run_uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_change_at_most_every_five_seconds_and_stay_where_there_are_none() {
        let mut addresses = Addresses::default();
        let begin: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let mut at = |second: i64, found: Option<&str>| {
            let found = found
                .map(|text| vec![text.parse().unwrap()])
                .ok_or_else(|| PeerError::Nothing { name: "db".into() });
            let now = begin + SignedDuration::from_secs(second);
            let faults = addresses.adopt(("1", "slow"), found, now);
            faults.map(|faults| faults[0].to_string()).ok()
        };
        let (one, two) = ("drop to 10.0.0.1", "drop to 10.0.0.2");
        assert_eq!(at(0, None), None);
        assert_eq!(at(1, Some(one)).as_deref(), Some(one));
        assert_eq!(at(3, Some(two)).as_deref(), Some(one));
        assert_eq!(at(6, Some(two)).as_deref(), Some(two));
        assert_eq!(at(7, None).as_deref(), Some(two));
        addresses.retain(|_| false);
        assert!(addresses.known.is_empty());
    }
}
