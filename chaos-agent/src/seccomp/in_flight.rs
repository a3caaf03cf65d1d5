//! Remembers the calls that wait for an answer, and since when, so that none waits for ever,
//! whatever became of whoever was to answer it.

use std::{collections::BTreeMap, time::Duration};

/// How long a call waits at most: as long as a lease lasts, unless the agent was told otherwise.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The calls that wait, by their ids.
#[derive(Debug, Default)]
pub struct InFlight(BTreeMap<u64, Call>);

#[derive(Debug)]
struct Call {
    since: u64,
    holder: Holder,
}

/// Who has a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The thread that received it.
    Receiver,
    /// Those that look up.
    Pool,
}

impl InFlight {
    /// A receiver has a call since `now` (ns).
    pub fn begin(&mut self, id: u64, now: u64) {
        self.0.insert(id, Call { since: now, holder: Holder::Receiver });
    }

    /// It has handed the call on.
    pub fn hand_on(&mut self, id: u64) {
        if let Some(call) = self.0.get_mut(&id) {
            call.holder = Holder::Pool;
        }
    }

    /// The call has its answer.
    pub fn end(&mut self, id: u64) {
        self.0.remove(&id);
    }

    /// Takes out the calls that have waited for too long.
    pub fn overdue(&mut self, now: u64) -> Vec<(u64, Holder)> {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let is_late = |call: &Call| now.saturating_sub(call.since) >= longest;
        self.0.extract_if(.., |_, call| is_late(call)).map(|(id, call)| (id, call.holder)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_overdue_once_and_only_while_it_waits() {
        let longest = LONGEST.as_nanos() as u64;
        let mut calls = InFlight::default();
        (1..=3).for_each(|id| calls.begin(id, id));
        calls.end(1);
        calls.hand_on(2);
        assert!(calls.overdue(longest).is_empty());
        assert_eq!(calls.overdue(longest + 2), [(2, Holder::Pool)]);
        assert_eq!(calls.overdue(longest + 3), [(3, Holder::Receiver)]);
        assert!(calls.overdue(u64::MAX).is_empty());
    }
}
