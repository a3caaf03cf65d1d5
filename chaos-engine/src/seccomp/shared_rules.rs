//! What agent and supervisors share: a piece of memory without a name (memfd_create(2)), in which the
//! agent puts the rules and the lease, and the supervisors what they counted.
//!
//! Everything in it is atomic, so that neither can hold the other up or be misled by it, whatever
//! moment it is killed or stopped at.

use std::{
    ffi::c_void,
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use chaos_api::SlotCounts;
use chaos_ebpf_common::{
    SLOTS,
    gate::Grant,
    ledger::{COUNTS, Count},
    record::Record,
    rule::Rule,
};
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
        stat::fstat,
    },
    unistd::ftruncate,
};
use thiserror::Error;

use super::{
    handover::Handover,
    ring::Ring,
    rules::{MOST_BYTES, SupervisorRules},
};

/// Changes with the layout: a supervisor of another version must not read it.
const LAYOUT: u64 = 0x6368_616f_735f_3032;

const WORDS: usize = MOST_BYTES.div_ceil(8);

const NANOSECONDS: u64 = 1_000_000_000;

/// Why shared memory can't be used.
#[derive(Debug, Error)]
pub enum SharedRulesError {
    #[error("{call} of the memory shared with the supervisor: {source}")]
    Call { call: &'static str, source: io::Error },
    #[error("the memory shared with the supervisor has another layout")]
    Layout,
    #[error("the rules of one target take {bytes} bytes, and there is room for {MOST_BYTES}")]
    TooLong { bytes: usize },
}

#[repr(C)]
struct Page {
    layout: AtomicU64,
    lease: AtomicU64,
    /// Odd while the rules are written; each change adds 2.
    generation: AtomicU64,
    length: AtomicU64,
    /// 1 when no rule will ever be put here again.
    closed: AtomicU64,
    rules: [AtomicU64; WORDS],
    states: [State; SLOTS],
    ledger: [[AtomicU64; COUNTS]; SLOTS],
    ring: Ring,
    handover: Handover,
}

/// What a rule remembers; the kernel's side has `RuleState` for it.
#[repr(C)]
struct State {
    ordinal: AtomicU64,
    granted: AtomicU64,
    /// The current second since the rule's `not_before` in the upper half, injections in it in
    /// the lower one.
    second: AtomicU64,
}

/// One target's shared memory.
#[derive(Debug)]
pub struct SharedRules {
    page: NonNull<Page>,
    memory: OwnedFd,
}

// SAFETY: the page lives as long as the shared rules do, and consists of atomics only.
unsafe impl Send for SharedRules {}
// SAFETY: as above.
unsafe impl Sync for SharedRules {}

impl SharedRules {
    /// Memory with no rule in it and no lease. It can't change its size any more, so nobody who
    /// maps it meets SIGBUS.
    pub fn create() -> Result<Self, SharedRulesError> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let memory = memfd_create(c"chaos-agent", flags).map_err(failed("memfd_create"))?;
        let size = i64::try_from(size_of::<Page>()).map_err(|_| SharedRulesError::Layout)?;
        ftruncate(&memory, size).map_err(failed("ftruncate"))?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).map_err(failed("fcntl(F_ADD_SEALS)"))?;
        let shared = Self::map(memory)?;
        shared.page().layout.store(LAYOUT, Ordering::Release);
        Ok(shared)
    }

    /// The memory behind a descriptor that [`SharedRules::create`] made, in this process or another.
    pub fn open(memory: OwnedFd) -> Result<Self, SharedRulesError> {
        let size = fstat(&memory).map_err(failed("fstat"))?.st_size;
        if usize::try_from(size).ok() != Some(size_of::<Page>()) {
            return Err(SharedRulesError::Layout);
        }
        let shared = Self::map(memory)?;
        if shared.page().layout.load(Ordering::Acquire) != LAYOUT {
            return Err(SharedRulesError::Layout);
        }
        Ok(shared)
    }

    fn map(memory: OwnedFd) -> Result<Self, SharedRulesError> {
        let size = NonZeroUsize::new(size_of::<Page>()).ok_or(SharedRulesError::Layout)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel picks; the file is as long as it.
        let address = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, &memory, 0) };
        let page = address.map_err(failed("mmap"))?.cast();
        Ok(Self { page, memory })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until the drop, page-aligned, and zeroed memory is a valid Page.
        unsafe { self.page.as_ref() }
    }

    /// Where the child of `run` leaves its listener.
    pub fn handover(&self) -> &Handover {
        &self.page().handover
    }

    /// Lets the rules act until this moment of the boot clock (ns); 0 stops them at once.
    pub fn lease_until(&self, until: u64) {
        self.page().lease.store(until, Ordering::Release);
    }

    /// The moment at which the lease lapses.
    pub fn lease(&self) -> u64 {
        self.page().lease.load(Ordering::Acquire)
    }

    /// Puts rules in force, whole. One caller at a time.
    pub fn publish(&self, rules: &SupervisorRules) -> Result<(), SharedRulesError> {
        let bytes = rules.to_bytes();
        if bytes.len() > MOST_BYTES {
            return Err(SharedRulesError::TooLong { bytes: bytes.len() });
        }
        let page = self.page();
        let before = page.generation.load(Ordering::Relaxed);
        page.generation.store(before | 1, Ordering::SeqCst);
        page.length.store(bytes.len() as u64, Ordering::SeqCst);
        for (word, chunk) in page.rules.iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Ordering::SeqCst);
        }
        page.generation.store((before | 1) + 1, Ordering::SeqCst);
        Ok(())
    }

    /// Which rules are in force, by number; changes whenever they do.
    pub fn generation(&self) -> u64 {
        self.page().generation.load(Ordering::SeqCst)
    }

    /// The rules in force and their number; `None` while they are being written, or when they
    /// make no sense.
    pub fn rules(&self) -> Option<(u64, SupervisorRules)> {
        let page = self.page();
        let generation = self.generation();
        if generation % 2 == 1 {
            return None;
        }
        let length = usize::try_from(page.length.load(Ordering::SeqCst)).ok()?.min(MOST_BYTES);
        let mut bytes: Vec<u8> = page.rules[..length.div_ceil(8)]
            .iter()
            .flat_map(|word| word.load(Ordering::SeqCst).to_ne_bytes())
            .collect();
        bytes.truncate(length);
        let unchanged = self.generation() == generation;
        let rules = SupervisorRules::from_bytes(&bytes).filter(|_| unchanged)?;
        Some((generation, rules))
    }

    /// Says that nobody will arm on these shared rules again.
    pub fn close(&self) {
        self.lease_until(0);
        self.page().closed.store(1, Ordering::Release);
    }

    /// Whether they were closed.
    pub fn is_closed(&self) -> bool {
        self.page().closed.load(Ordering::Acquire) != 0
    }

    /// Forgets counts, ordinals and budgets of a slot, for a new rule.
    pub fn reset_slot(&self, slot: u32) {
        let Some((state, counts)) = self.slot(slot) else { return };
        for word in [&state.ordinal, &state.granted, &state.second].into_iter().chain(counts) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The counts of a slot.
    pub fn counts(&self, slot: u32) -> SlotCounts {
        let counted = |count: Count| {
            self.slot(slot).map_or(0, |(_, counts)| counts[count as usize].load(Ordering::Acquire))
        };
        Count::ALL.into_iter().map(|count| (count, counted(count))).collect()
    }

    /// Adds to a counter, or takes off what was added.
    pub fn count(&self, slot: u32, count: Count, change: i64) {
        if let Some((_, counts)) = self.slot(slot) {
            counts[count as usize].fetch_add(change as u64, Ordering::AcqRel);
        }
    }

    /// How many matching calls the rule had before this one; exact on any number of threads and
    /// supervisors.
    pub fn ordinal(&self, slot: u32) -> Option<u64> {
        self.slot(slot).map(|(state, _)| state.ordinal.fetch_add(1, Ordering::AcqRel))
    }

    /// Takes one injection out of the rule's budget; `chaos_ebpf_common::gate::grant` without a
    /// lock, as whoever holds one could be killed.
    pub fn grant(&self, rule: &Rule, now: u64) -> Grant {
        let Some((state, _)) = self.slot(rule.slot) else { return Grant::Spent };
        let is_spent = |granted: u64| rule.at_most != 0 && granted >= rule.at_most;
        if is_spent(state.granted.load(Ordering::Acquire)) {
            return Grant::Spent;
        }
        if rule.per_second != 0 {
            // 32 bits of seconds are 136 years.
            let second = (now.saturating_sub(rule.not_before) / NANOSECONDS).min(u32::MAX.into());
            let next = |packed: u64| {
                // Who read the clock in an earlier second counts in the current one.
                let (current, used) = (packed >> 32, packed & 0xffff_ffff);
                let (current, used) = if second > current { (second, 0) } else { (current, used) };
                (used < u64::from(rule.per_second)).then_some(current << 32 | (used + 1))
            };
            if update(&state.second, next).is_none() {
                return Grant::TooFast;
            }
        }
        let granted = |granted: u64| (!is_spent(granted)).then_some(granted + 1);
        if update(&state.granted, granted).is_none() {
            return Grant::Spent;
        }
        Grant::Given
    }

    /// Tells of an injection; may be lost.
    pub fn tell(&self, record: &Record) {
        self.page().ring.push(record);
    }

    /// What was told since the last call that had this `position`, which begins at 0.
    pub fn drain(&self, position: &mut u64) -> Vec<Record> {
        self.page().ring.drain(position)
    }

    fn slot(&self, slot: u32) -> Option<(&State, &[AtomicU64; COUNTS])> {
        let index = usize::try_from(slot).ok()?;
        Some((self.page().states.get(index)?, self.page().ledger.get(index)?))
    }
}

impl AsFd for SharedRules {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for SharedRules {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and no reference outlives the shared rules.
        let unmapped = unsafe { munmap(self.page.cast::<c_void>(), size_of::<Page>()) };
        debug_assert!(unmapped.is_ok());
    }
}

fn update(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    word.try_update(Ordering::AcqRel, Ordering::Acquire, next).ok()
}

fn failed(call: &'static str) -> impl Fn(nix::errno::Errno) -> SharedRulesError {
    move |errno| SharedRulesError::Call { call, source: errno.into() }
}

#[cfg(test)]
mod tests;
