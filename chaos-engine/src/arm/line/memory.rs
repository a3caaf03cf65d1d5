//! One budget of memory for the frames that all delay lines of an agent hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is left of it, in bytes.
#[derive(Debug, Clone)]
pub(in crate::arm) struct HeldMemory(Arc<Mutex<u64>>);

/// What one line may hold. It goes back into the budget when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: HeldMemory,
    granted: u64,
}

impl HeldMemory {
    pub(in crate::arm) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    /// A share, of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), granted: 0 }
    }

    fn left(&self) -> MutexGuard<'_, u64> {
        // A number is whole, whoever panicked with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// How much the line may hold from now on, where it holds so much: that, and half of what nobody
    /// has, so that a line that begins finds something. The shares of all lines together are never more
    /// than the budget.
    pub(super) fn adjust(&mut self, holds: u64) -> u64 {
        let mut left = self.memory.left();
        *left += self.granted;
        // It holds no more than it was granted, as far as it knows.
        let kept = holds.min(*left);
        self.granted = kept + (*left - kept) / 2;
        *left -= self.granted;
        self.granted
    }

    /// As it was granted last.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.memory.left() += self.granted;
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
                prop_assert_eq!(granted + *memory.left(), 10_000);
            }
            drop(shares);
            prop_assert_eq!(*memory.left(), 10_000);
        }
    }
}
