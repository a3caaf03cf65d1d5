//! Counts frames that were taken to be held and then could not be sent on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many of each rule, by its ledger slot.
#[derive(Default)]
pub(in crate::arm) struct Lost(Mutex<BTreeMap<u32, u64>>);

impl Lost {
    pub(super) fn add(&self, slot: u32) {
        *self.counts().entry(slot).or_default() += 1;
    }

    /// Of the rule that counts in this slot.
    pub(in crate::arm) fn of(&self, slot: u32) -> u64 {
        self.counts().get(&slot).copied().unwrap_or(0)
    }

    /// Forgets them, for a new rule.
    pub(in crate::arm) fn reset(&self, slot: u32) {
        self.counts().remove(&slot);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        // A number is whole, whoever panicked with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
