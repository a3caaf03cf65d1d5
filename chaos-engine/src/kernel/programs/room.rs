//! How much the programs of all targets have room for, and what of it is taken.

use std::collections::BTreeSet;

use chaos_ebpf_common::{
    MAX_PREFIXES, SLOT_BITS, flow_numbers::MAX_NUMBERED, line::PLACES, tables,
};

use super::{RING_BYTES, Set};
use crate::kernel::{
    KernelError,
    pool::{Pool, Range},
};

/// How much is to be armed at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Texts that are in force.
    pub texts: u32,
    /// Rules of all of them together, but for those that supervisors decide.
    pub rules: u32,
}

impl Default for Room {
    /// For a process that arms a few targets.
    fn default() -> Self {
        Self { texts: 64, rules: 1024 }
    }
}

/// While a text is replaced, the one before is there, too.
const VERSIONS: u32 = 2;

/// Network namespaces of each target for which there is room.
const NAMESPACES: u32 = 64;

/// Flows whose numbers are known at a time, for the rules of all targets together.
const NUMBERED: u32 = 16 * MAX_NUMBERED as u32;

pub(super) struct Rooms {
    room: Room,
    /// Numbers of targets at cgroups and functions of the kernel, which follow those at interfaces.
    pub targets: Pool,
    /// Numbers of targets at interfaces. Those that have just been disarmed have theirs until everything is detached.
    pub frames: Pool,
    /// Numbers of groups of targets.
    pub groups: Pool,
    /// Ids of rule sets.
    pub sets: Pool,
    /// Places of rules.
    pub rules: Pool,
    /// Ledger slots.
    pub slots: Pool,
    /// Flows that rules tell apart by their numbers. Which ones is of no importance.
    pub numbers: Pool,
}

/// What no program looks at any more.
pub(super) struct Woken {
    pub slots: BTreeSet<u32>,
    /// Numbers of targets at interfaces.
    pub frames: BTreeSet<u32>,
}

impl Rooms {
    pub(super) fn new(room: Room) -> Self {
        let frames = VERSIONS * room.texts;
        // More would not fit into the words that they share with other things.
        let rules = (VERSIONS * room.rules).min(1 << SLOT_BITS);
        Self {
            room,
            targets: Pool::new(frames + 1, room.texts),
            frames: Pool::new(1, frames),
            // A program at an interface notes a number of 16 bits.
            groups: Pool::new(1, (NAMESPACES * room.texts).min(u16::MAX.into())),
            sets: Pool::new(1, VERSIONS * room.texts),
            rules: Pool::new(0, rules),
            slots: Pool::new(0, rules),
            numbers: Pool::new(0, NUMBERED),
        }
    }

    /// The entries of the maps.
    pub(super) fn entries(&self) -> Vec<(&'static str, u32)> {
        let sets = self.sets.size() + 1;
        let frames = self.frames.size() + 1;
        vec![
            ("FIRST_SETS", frames + self.targets.size()),
            ("HEADS", sets),
            ("RULES", self.rules.size().max(1)),
            ("STATES", self.slots.size().max(1)),
            ("LEDGER", self.slots.size().max(1)),
            // Tries and tables without entries of their own beforehand take room for what is in them only.
            ("PEERS4", sets * MAX_PREFIXES as u32),
            ("PEERS6", sets * MAX_PREFIXES as u32),
            ("PORTS", sets * MAX_PREFIXES as u32),
            ("PATHS", sets * tables::MAX_PATHS as u32),
            ("NUMBERED", NUMBERED),
            ("CALLS", sets * tables::CALLS as u32),
            ("FILES", sets),
            ("TARGETS", self.targets.size().max(1)),
            ("RECORDS", RING_BYTES),
            ("FRAME_GROUPS", self.groups.size() + 1),
            ("FRAME_MEMBERS", (NAMESPACES * self.room.texts).max(1)),
            ("FRAME_OWNERS", frames),
            ("ENDED", frames),
            ("READER", frames),
            ("GIVEN", frames),
            ("RETURNED", frames),
            ("PLACES", frames * PLACES),
            ("HOLDS", self.slots.size().max(1)),
            ("TABLES", self.slots.size().max(1)),
            ("FLOWS", self.slots.size().max(1)),
        ]
    }

    /// Whether programs may still look at targets or slots that were taken back.
    pub(super) fn are_resting(&self) -> bool {
        let numbers = [&self.targets, &self.frames, &self.groups, &self.slots];
        numbers.into_iter().any(Pool::is_resting)
    }

    /// They do not any more.
    pub(super) fn wake(&mut self) -> Woken {
        self.targets.wake();
        self.groups.wake();
        let numbers = |pool: &mut Pool| pool.wake().into_iter().map(|range| range.first).collect();
        Woken { slots: numbers(&mut self.slots), frames: numbers(&mut self.frames) }
    }

    /// Takes back what a set had at which no program is.
    pub(super) fn give_back(&mut self, set: Set) {
        self.sets.give_back(Range::one(set.id));
        self.rules.give_back(set.rules);
        self.numbers.give_back(set.numbers);
    }

    /// Whether one more text finds room beside so many.
    pub(super) fn admit_text(&self, texts: usize) -> Result<(), KernelError> {
        if texts < self.room.texts as usize { Ok(()) } else { Err(self.no_targets()) }
    }

    /// Whether so many rules may be in force. There are as many places again for what is being replaced.
    pub(super) fn admit_rules(&self, rules: u32) -> Result<(), KernelError> {
        if rules <= self.room.rules { Ok(()) } else { Err(self.no_rules()) }
    }

    /// Places of rules, or ledger slots if more of those are taken.
    pub(super) fn rules_taken(&self) -> u32 {
        self.rules.taken().max(self.slots.taken())
    }

    /// Whether rules tell flows apart by their numbers.
    pub(super) fn has_numbers(&self) -> bool {
        self.numbers.taken() > 0
    }

    pub(super) fn no_frames(&self) -> KernelError {
        let what = "faults on frames of another target";
        KernelError::NoRoom { what, room: self.frames.size(), remedy: " (--most-targets)" }
    }

    pub(super) fn no_groups(&self) -> KernelError {
        let what = "faults on frames in another network namespace";
        KernelError::NoRoom { what, room: self.groups.size(), remedy: " (--most-targets)" }
    }

    pub(super) fn no_targets(&self) -> KernelError {
        let (what, remedy) = ("another target", " (--most-targets)");
        KernelError::NoRoom { what, room: self.room.texts, remedy }
    }

    pub(super) fn no_sets(&self) -> KernelError {
        let (what, remedy) = ("more faults", " targets (--most-targets)");
        KernelError::NoRoom { what, room: self.room.texts, remedy }
    }

    pub(super) fn no_rules(&self) -> KernelError {
        let what = "more rules";
        let remedy =
            " on all targets together (--most-rules); disarm other targets, or write fewer faults";
        KernelError::NoRoom { what, room: self.room.rules, remedy }
    }

    pub(super) fn no_numbers(&self) -> KernelError {
        let what = "more flows that are told apart by their order";
        let remedy = " on all targets together; disarm other targets with such faults, or take earlier flows";
        KernelError::NoRoom { what, room: NUMBERED, remedy }
    }
}
