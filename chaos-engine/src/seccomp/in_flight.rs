//! Remembers the calls that wait for an answer, and since when, so that none waits for ever,
//! whatever became of whoever was to answer it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chaos_plan::nanoseconds;

/// How long a call waits at most: as long as a lease lasts, unless the agent was told otherwise.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The calls that wait, by their ids.
#[derive(Debug, Default)]
pub struct InFlight {
    calls: BTreeMap<u64, Call>,
    /// Those that were overdue while their receiver had them, which has not come back since.
    given_up: BTreeSet<u64>,
}

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
        self.calls.insert(id, Call { since: now, holder: Holder::Receiver });
    }

    /// It has handed the call on.
    pub fn hand_on(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.holder = Holder::Pool;
        }
    }

    /// The call has its answer.
    pub fn end(&mut self, id: u64) {
        self.calls.remove(&id);
    }

    /// Takes out the calls that have waited for too long.
    pub fn overdue(&mut self, now: u64) -> Vec<(u64, Holder)> {
        let longest = nanoseconds(LONGEST);
        let is_late = |call: &Call| now.saturating_sub(call.since) >= longest;
        let overdue: Vec<(u64, Holder)> = self
            .calls
            .extract_if(.., |_, call| is_late(call))
            .map(|(id, call)| (id, call.holder))
            .collect();
        let at_receivers = overdue.iter().filter(|(_, holder)| *holder == Holder::Receiver);
        self.given_up.extend(at_receivers.map(|(id, _)| *id));
        overdue
    }

    /// The receiver of a call is back. Whether the call was overdue meanwhile, so that there is another
    /// receiver in its place.
    pub fn is_replaced(&mut self, id: u64) -> bool {
        self.given_up.remove(&id)
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

    #[test]
    fn a_receiver_that_comes_back_late_has_been_replaced() {
        let mut calls = InFlight::default();
        (1..=3).for_each(|id| calls.begin(id, 0));
        calls.hand_on(2);
        calls.end(3);
        assert_eq!(calls.overdue(u64::MAX).len(), 2);
        assert!(calls.is_replaced(1));
        assert!(!calls.is_replaced(1) && !calls.is_replaced(2) && !calls.is_replaced(3));
    }
}
