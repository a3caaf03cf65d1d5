//! Takes the leases of everything that is armed away at once, from any thread: an emergency stop does not
//! wait for the keeper, which may be busy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use thiserror::Error;

/// A lease could not be noted.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct LeaseError(pub Box<dyn std::error::Error + Send + Sync>);

/// Where a lease is noted.
pub trait Noted: Send + Sync {
    /// Until which boot-clock moment (ns) rules may act.
    fn note(&self, until: u64) -> Result<(), LeaseError>;
}

/// The lease of one target.
pub struct Lease {
    noted: Box<dyn Noted>,
    all: Leases,
}

impl Lease {
    /// Lets rules act until this boot-clock moment (ns), unless all leases are withheld.
    pub fn extend(&self, until: u64) -> Result<(), LeaseError> {
        let book = self.all.book();
        self.noted.note(if book.withheld > 0 { 0 } else { until })
    }

    /// Takes this one away, until it is extended again.
    pub fn withdraw(&self) -> Result<(), LeaseError> {
        self.noted.note(0)
    }
}

/// The leases of all targets of an agent.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    leases: Vec<Weak<Lease>>,
    /// How many [`Withheld`] there are.
    withheld: usize,
    epoch: Epoch,
}

/// The time between two halts. Whatever was asked for in an earlier one is not to be armed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch(u64);

/// Everything was halted after something had been asked for and before it was done: it is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("everything was halted after this was asked for; ask for it anew")]
pub struct HaltedSince;

/// All leases are taken away, and none is given, for as long as there is one of these.
#[must_use]
pub struct Withheld(Leases);

impl Leases {
    /// A new lease, which has lapsed.
    pub fn open(&self, noted: impl Noted + 'static) -> Arc<Lease> {
        let lease = Arc::new(Lease { noted: Box::new(noted), all: self.clone() });
        let mut book = self.book();
        book.leases.retain(|lease| lease.strong_count() > 0);
        book.leases.push(Arc::downgrade(&lease));
        lease
    }

    /// Takes all leases away. Those of targets that are still armed when the last [`Withheld`] goes are
    /// given again.
    pub fn withhold(&self) -> Withheld {
        let mut book = self.book();
        book.withheld += 1;
        for lease in book.leases.iter().filter_map(Weak::upgrade) {
            if let Err(error) = lease.withdraw() {
                tracing::warn!(%error, "a lease could not be taken away; it lapses by itself");
            }
        }
        Withheld(self.clone())
    }

    /// The same, for good: what was asked for until now is not to be armed any more.
    pub fn halt(&self) -> Withheld {
        self.book().epoch.0 += 1;
        self.withhold()
    }

    /// The epoch of what is asked for at this moment.
    pub fn epoch(&self) -> Epoch {
        self.book().epoch
    }

    /// Whether what was asked for in this epoch may still be armed.
    ///
    /// # Errors
    /// When everything was halted since.
    pub fn admit(&self, asked: Epoch) -> Result<(), HaltedSince> {
        if asked == self.epoch() { Ok(()) } else { Err(HaltedSince) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Whoever panicked with it has changed a number at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.0.book().withheld -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    impl Noted for Arc<AtomicU64> {
        fn note(&self, until: u64) -> Result<(), LeaseError> {
            self.store(until, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn what_is_withheld_is_given_to_nobody() {
        let leases = Leases::default();
        let notes: [Arc<AtomicU64>; 2] = Default::default();
        let now = || notes.each_ref().map(|note| note.load(Ordering::Relaxed));
        let [first, second] = notes.each_ref().map(|note| leases.open(note.clone()));
        first.extend(10).unwrap();
        second.extend(20).unwrap();
        assert_eq!(now(), [10, 20]);

        let (withheld, again) = (leases.withhold(), leases.withhold());
        assert_eq!(now(), [0, 0]);
        drop(again);
        first.extend(30).unwrap();
        let late: Arc<AtomicU64> = Arc::default();
        leases.open(late.clone()).extend(30).unwrap();
        assert_eq!((now(), late.load(Ordering::Relaxed)), ([0, 0], 0));

        drop(withheld);
        assert_eq!(now(), [0, 0]);
        first.extend(40).unwrap();
        second.extend(50).unwrap();
        second.withdraw().unwrap();
        assert_eq!(now(), [40, 0]);
    }

    #[test]
    fn what_was_asked_for_before_a_halt_is_not_admitted_after_it() {
        let leases = Leases::default();
        let before = leases.epoch();
        drop(leases.withhold());
        assert_eq!(leases.admit(before), Ok(()), "what is withheld is given again");
        let withheld = leases.halt();
        let meanwhile = leases.epoch();
        drop(withheld);
        assert_eq!(leases.admit(before), Err(HaltedSince));
        assert_eq!(leases.admit(meanwhile), Ok(()));
        drop(leases.halt());
        assert_eq!(leases.admit(meanwhile), Err(HaltedSince));
    }

    #[test]
    fn leases_that_are_gone_are_forgotten() {
        let leases = Leases::default();
        for _ in 0..10 {
            drop(leases.open(Arc::new(AtomicU64::new(0))));
        }
        assert_eq!(leases.book().leases.len(), 1);
    }
}
