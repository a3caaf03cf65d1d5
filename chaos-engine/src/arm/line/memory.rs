//! One budget of memory for the frames that all delay lines of an agent hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The budget, in bytes, and what each line may hold of it.
#[derive(Debug, Clone)]
pub(in crate::arm) struct HeldMemory(Arc<Mutex<Budget>>);

#[derive(Debug)]
struct Budget {
    total: u64,
    /// By the numbers of shares.
    granted: BTreeMap<u64, u64>,
    /// The number of the next share.
    next: u64,
}

/// What one line may hold. It goes back into the budget when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: HeldMemory,
    number: u64,
    granted: u64,
}

/// Of an equal part of the budget, each line is left this part, however much others want.
const LEFT_TO_EACH: u64 = 4;

impl HeldMemory {
    pub(in crate::arm) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Budget { total: bytes, granted: BTreeMap::new(), next: 0 })))
    }

    /// A share, of nothing yet.
    pub(super) fn share(&self) -> Share {
        let mut budget = self.budget();
        let number = budget.next;
        budget.next += 1;
        budget.granted.insert(number, 0);
        drop(budget);
        Share { memory: self.clone(), number, granted: 0 }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        // Each entry is a number that is whole, whoever panicked with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// How much the line may hold from now on, where it holds so much: that, and half of what nobody
    /// has, so that a line that begins finds something. The shares of all lines together are never more
    /// than the budget. What is left to each line is not given to others: one that holds little is not starved by one that
    /// takes all it can get.
    pub(super) fn adjust(&mut self, holds: u64) -> u64 {
        let mut budget = self.memory.budget();
        let least = budget.total / (LEFT_TO_EACH * budget.granted.len().max(1) as u64);
        budget.granted.insert(self.number, 0);
        let left = budget.total - budget.granted.values().sum::<u64>();
        let of_others = budget.granted.iter().filter(|(number, _)| **number != self.number);
        let reserved: u64 = of_others.map(|(_, granted)| least.saturating_sub(*granted)).sum();
        // It holds no more than it was granted, as far as it knows.
        let kept = holds.min(left);
        let free = (left - kept).saturating_sub(reserved);
        self.granted = (kept + free / 2).max(least.min(left));
        budget.granted.insert(self.number, self.granted);
        self.granted
    }

    /// As it was granted last.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.budget().granted.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_alone_comes_to_have_nearly_all() {
        let memory = HeldMemory::new(1 << 20);
        let mut share = memory.share();
        let mut holds = 0;
        for _ in 0..30 {
            holds = share.adjust(holds);
        }
        assert!(holds >= (1 << 20) - 1, "{holds}");
        assert_eq!(share.granted(), holds);
        let mut late = memory.share();
        assert!(late.adjust(0) <= 1);
        // The first has sent on what it held.
        share.adjust(0);
        assert!(late.adjust(0) >= 1 << 18);
    }

    /// One takes whatever it can get, again and again; the other holds little for as long.
    #[test]
    fn a_line_that_takes_all_starves_no_other() {
        let memory = HeldMemory::new(1 << 20);
        let (mut flooded, mut other) = (memory.share(), memory.share());
        let mut holds = 0;
        for _ in 0..30 {
            holds = flooded.adjust(holds);
        }
        for _ in 0..100 {
            // As much as is left to each at all times.
            assert_eq!(other.adjust(1_000), 1 << 17);
            holds = flooded.adjust(holds);
        }
        assert!(holds >= (1 << 20) - (1 << 17) - 1, "{holds}");
        // A third one begins when all is taken: it gets its part as soon as something is free.
        let mut late = memory.share();
        assert!(late.adjust(0) <= 1);
        flooded.adjust(1 << 19);
        assert!(late.adjust(0) >= (1 << 20) / 12);
    }

    proptest! {
        #[test]
        fn shares_are_never_more_than_there_is(
            steps in prop::collection::vec((0..8usize, 0..3000u64, any::<bool>()), 0..200),
        ) {
            let memory = HeldMemory::new(10_000);
            let mut shares: Vec<Share> = (0..8).map(|_| memory.share()).collect();
            for (line, holds, ends) in steps {
                if ends {
                    shares[line] = memory.share();
                } else {
                    let granted = shares[line].granted();
                    shares[line].adjust(holds.min(granted));
                }
                let granted: u64 = shares.iter().map(Share::granted).sum();
                prop_assert!(granted <= 10_000);
                prop_assert_eq!(granted, memory.budget().granted.values().sum::<u64>());
            }
            drop(shares);
            prop_assert!(memory.budget().granted.is_empty());
        }
    }
}
