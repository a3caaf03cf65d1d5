//! Frames that were taken to be held and then could not be sent on.

use std::sync::atomic::{AtomicU64, Ordering};

use chaos_ebpf_common::SLOTS;

/// How many frames of each rule were taken to be held and then could not be sent on.
pub(in crate::arm) struct Lost([AtomicU64; SLOTS]);

impl Default for Lost {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; SLOTS])
    }
}

impl Lost {
    pub(super) fn add(&self, slot: u8) {
        if let Some(lost) = self.0.get(usize::from(slot)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Of the rule that counts in this slot.
    pub(in crate::arm) fn of(&self, slot: u32) -> u64 {
        self.0.get(slot as usize).map_or(0, |lost| lost.load(Ordering::Relaxed))
    }

    /// Forgets them, for a new rule.
    pub(in crate::arm) fn reset(&self, slot: u32) {
        if let Some(lost) = self.0.get(slot as usize) {
            lost.store(0, Ordering::Relaxed);
        }
    }
}
