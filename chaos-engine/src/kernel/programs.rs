//! The BPF object whose programs serve all targets: loaded once, with a rule set for each text that is in force.

mod frames;
mod groups;
mod holds;
mod inner;
mod namespaces;
mod numbers;
mod room;
mod rows;
mod text;

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::maps::{Array, HashMap, MapData, RingBuf};
use chaos_ebpf_common::{
    MOST_DEPTHS,
    event::FileId,
    gate::numbered,
    record::Record,
    rule::{Action, RuleSet, Trigger},
    tables::{Callers, MAX_ENDED, MAX_FILES},
};
use chaos_plan::{Attachment, CompiledSet};

pub use self::{
    frames::FrameHooks,
    groups::{FrameGroup, Membership},
    holds::Holding,
    room::Room,
    text::{Text, Wants},
};
use self::{
    frames::FrameOwners,
    groups::Groups,
    holds::Holds,
    inner::Recent,
    namespaces::Namespaces,
    numbers::NumbersByHook,
    room::{Rooms, Woken},
    rows::Row,
};
use super::{
    KernelError, LeaseMap, Object,
    at_function::{AtFunction, Missed},
    freed_memory,
    grace::wait_for_running_programs,
    line::AllLines,
    links::attach_type,
    maps::{drain, failed, is_absent, map},
    pool::Range,
    slots::Slots,
    tables::Tables,
};

/// Bytes of the ring of all targets.
const RING_BYTES: u32 = 1 << 20;

/// Records that are read at once: four rings full.
const MOST_RECORDS: usize = 4 * RING_BYTES as usize / size_of::<Record>();

/// Sets that go by paths and are taken back at once.
const MOST_BY_PATH: u32 = 2;

/// Records that are kept for a text until it asks for them.
const MOST_KEPT: usize = 4096;

/// The object, for whoever has a text in it. It is unloaded with the last of these and of those.
#[derive(Clone)]
pub struct Programs(Arc<Mutex<Loaded>>);

/// Tells one text from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// A rule set, and what it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set {
    pub id: u32,
    pub rules: Range,
    /// For the flows that its rules tell apart by their order.
    pub numbers: Range,
    /// Whether it goes by the paths of files.
    pub by_path: bool,
    /// Whether it resets connections.
    pub resets: bool,
}

pub(super) struct Loaded {
    // Links before the object: packets meet no program whose maps are on their way out.
    /// By function of the kernel, and how many texts need it.
    functions: BTreeMap<String, (AtFunction, usize)>,
    /// By the ids of their cgroups.
    rows: BTreeMap<u64, Row>,
    rooms: Rooms,
    /// Sets that programs may still be at.
    resting: VecDeque<Set>,
    /// Some rule has told flows apart since their numbers were last forgotten.
    has_numbered: bool,
    tables: Tables,
    slots: Slots,
    /// For each set that goes by paths, which of its rules a file meets.
    files: Recent<FileId, u64>,
    /// For each target at interfaces that resets connections, those that were reset.
    ended: Recent<u64, u8>,
    holds: Holds,
    lines: AllLines,
    frame_owners: FrameOwners,
    groups: Groups,
    numbers_by_hook: NumbersByHook,
    namespaces: Namespaces,
    targets: HashMap<MapData, u64, u32>,
    callers: Array<MapData, Callers>,
    said: Callers,
    records: RingBuf<MapData>,
    /// Whose records are those of a slot, and by which number the text has the slot.
    owners: BTreeMap<u32, (Key, u32)>,
    kept: BTreeMap<Key, Vec<Record>>,
    lease: LeaseMap,
    next_key: u64,
    object: Object,
}

impl Programs {
    /// Loads the object, with room for so much.
    pub fn load(room: Room) -> Result<Self, KernelError> {
        let rooms = Rooms::new(room);
        let entries = rooms.entries();
        let mut object = Object::load(&entries)?;
        let ebpf = object.ebpf();
        let programs = Self(Arc::new(Mutex::new(Loaded {
            functions: BTreeMap::new(),
            rows: BTreeMap::new(),
            rooms,
            resting: VecDeque::new(),
            has_numbered: false,
            tables: Tables::take(ebpf)?,
            slots: Slots::take(ebpf)?,
            files: Recent::take(ebpf, "FILES", MAX_FILES)?,
            ended: Recent::take(ebpf, "ENDED", MAX_ENDED)?,
            holds: Holds::take(ebpf)?,
            lines: AllLines::take(ebpf)?,
            frame_owners: map(ebpf, "FRAME_OWNERS")?,
            groups: Groups::take(ebpf)?,
            numbers_by_hook: NumbersByHook::take(ebpf)?,
            namespaces: Namespaces::take(ebpf)?,
            targets: map(ebpf, "TARGETS")?,
            callers: map(ebpf, "CALLERS")?,
            said: Callers::default(),
            records: map(ebpf, "RECORDS")?,
            owners: BTreeMap::new(),
            kept: BTreeMap::new(),
            lease: LeaseMap::take(ebpf)?,
            next_key: 0,
            object,
        })));
        freed_memory::give_back();
        Ok(programs)
    }

    /// Where the lease of all texts is noted.
    pub fn lease(&self) -> LeaseMap {
        self.loaded().lease.clone()
    }

    /// How much is taken, in the order of [`Room`]'s fields: texts, and rules with those that still rest.
    pub fn taken(&self) -> Room {
        let loaded = self.loaded();
        let texts = loaded.rows.values().map(|row| row.texts.len() as u32).sum();
        Room { texts, rules: loaded.rooms.rules_taken() }
    }

    /// Hands what the programs had to complain about to the agent's log, and takes back what texts had that have been
    /// replaced or have ended. It waits for a few grace periods of the kernel (10 to 30 ms each) where there is such.
    pub fn tend(&self) -> Result<(), KernelError> {
        let mut loaded = self.loaded();
        loaded.object.flush_log();
        loaded.wake()
    }

    /// Whether programs are to be detached from functions where no text needs them any more.
    pub fn has_idle(&self) -> bool {
        self.loaded().functions.values().any(|(_, texts)| *texts == 0)
    }

    /// Detaches one of them, which takes a grace period.
    pub fn detach_idle(&self) {
        let mut loaded = self.loaded();
        let idle = loaded.functions.iter().find(|(_, (_, texts))| *texts == 0);
        if let Some(function) = idle.map(|(function, _)| function.clone()) {
            loaded.functions.remove(&function);
        }
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // Whoever panicked has ended the keeper, and with it all texts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// Takes back what no program looks at any more. Of sets that go by paths a few at a time: each takes a grace period
    /// of its own.
    fn wake(&mut self) -> Result<(), KernelError> {
        self.ended.forget_some()?;
        self.holds.forget_some()?;
        if self.resting.is_empty() && !self.rooms.are_resting() {
            return Ok(());
        }
        wait_for_running_programs()?;
        // Whatever is left there is nobody's.
        self.sort_records();
        let Woken { slots, frames } = self.rooms.wake();
        self.ended.leave_all(frames);
        self.holds.leave(&slots);
        if self.has_numbered && !slots.is_empty() {
            self.slots.forget_numbers(|slot| slots.contains(&slot))?;
        }
        let mut by_path = 0;
        while let Some(set) = self.resting.pop_front() {
            by_path += u32::from(set.by_path);
            if by_path > MOST_BY_PATH {
                self.resting.push_front(set);
                break;
            }
            if let Err(error) = self.forget(set) {
                // For another attempt.
                self.resting.push_back(set);
                return Err(error);
            }
        }
        self.has_numbered = self.rooms.has_numbers();
        Ok(())
    }

    /// What `take` gives, if need be after what rests has been taken back.
    fn room(
        &mut self,
        take: impl Fn(&mut Rooms) -> Option<Range>,
        full: impl Fn(&Rooms) -> KernelError,
    ) -> Result<Range, KernelError> {
        if let Some(range) = take(&mut self.rooms) {
            return Ok(range);
        }
        self.wake()?;
        take(&mut self.rooms).ok_or_else(|| full(&self.rooms))
    }

    /// Clears a set at which no program is, and gives back what it took.
    fn forget(&mut self, set: Set) -> Result<(), KernelError> {
        if set.by_path {
            self.files.forget(set.id)?;
        }
        self.tables.clear(set.id)?;
        self.rooms.give_back(set);
        Ok(())
    }

    /// Writes a set that nothing leads to yet.
    fn write(
        &mut self,
        rules: u32,
        compile: impl FnOnce(u32) -> CompiledSet,
    ) -> Result<Set, KernelError> {
        let id = self.room(|rooms| rooms.sets.take(1), Rooms::no_sets)?;
        let (rules_of, numbers) = (Range::NONE, Range::NONE);
        let mut set = Set { id: id.first, rules: rules_of, numbers, by_path: false, resets: false };
        let compiled = compile(set.id);
        let written = self.write_as(&mut set, rules, &compiled);
        written.inspect_err(|_| self.drop_unused(set))?;
        Ok(set)
    }

    fn write_as(
        &mut self,
        set: &mut Set,
        rules: u32,
        compiled: &CompiledSet,
    ) -> Result<(), KernelError> {
        set.rules = self.room(|rooms| rooms.rules.take(rules), Rooms::no_rules)?;
        let by_order = |trigger| trigger == Trigger::FlowWindow as u8;
        let numbers = compiled.rules.iter().filter(|rule| by_order(rule.trigger)).map(numbered);
        let numbers = numbers.sum();
        set.numbers = self.room(|rooms| rooms.numbers.take(numbers), Rooms::no_numbers)?;
        self.has_numbered |= numbers > 0;
        if compiled.set.by_path != 0 {
            set.by_path = true;
            self.files.need(set.id)?;
        }
        set.resets = compiled.rules.iter().any(|rule| rule.action == Action::Reset as u8);
        self.tables.write(compiled, set.rules.first)
    }

    /// Gives back what a set took that never was in force.
    fn drop_unused(&mut self, set: Set) {
        if let Err(error) = self.forget(set) {
            tracing::warn!(%error, "a rule set was not taken back");
        }
    }

    /// Attaches a program to a function, or counts one more text that needs it.
    fn need_function(
        &mut self,
        function: &str,
        attachment: &Attachment,
    ) -> Result<(), KernelError> {
        match self.functions.entry(function.to_owned()) {
            Entry::Occupied(mut occupied) => occupied.get_mut().1 += 1,
            Entry::Vacant(vacant) => {
                let link = self.object.attach_function(function, attachment)?;
                vacant.insert((link, 1));
            }
        }
        Ok(())
    }

    /// How many calls the program at a function was not asked about so far.
    fn missed(&self, function: &str) -> Result<Missed, KernelError> {
        let Some((attached, _)) = self.functions.get(function) else {
            return Ok(Missed::default());
        };
        let call = "bpf(BPF_OBJ_GET_INFO_BY_FD)";
        attached.missed().map_err(|source| KernelError::Call { call, source })
    }

    /// One text needs it no more. If that was the last one, it is detached when there is time, or needed again before.
    fn leave_function(&mut self, function: &str) {
        if let Some((_, texts)) = self.functions.get_mut(function) {
            *texts -= 1;
        }
    }

    /// Leads the programs through the sets that a target has in force now.
    fn lead(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let Some(row) = self.rows.get(&cgroup) else { return Ok(()) };
        let numbers: Vec<u32> = row.frames.iter().copied().chain([row.number]).collect();
        self.tables.lead(&numbers, &row.sets().map(|set| set.id).collect::<Vec<_>>())
    }

    /// The row of the cgroup with this id and depth.
    fn row(&mut self, cgroup: u64, level: u32) -> Result<&mut Row, KernelError> {
        if !self.rows.contains_key(&cgroup) {
            let number = self.room(|rooms| rooms.targets.take(1), Rooms::no_targets)?;
            self.rows.insert(cgroup, Row::new(number.first, level));
        }
        self.rows.get_mut(&cgroup).ok_or_else(|| self.rooms.no_targets())
    }

    /// Forgets a target with which no program has to do any more.
    fn forget_row_if_over(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let is_over = |row: &Row| row.texts.is_empty() && row.frames.is_empty();
        if !self.rows.get(&cgroup).is_some_and(is_over) {
            return Ok(());
        }
        let Some(row) = self.rows.remove(&cgroup) else { return Ok(()) };
        self.rooms.targets.rest(Range::one(row.number));
        // Whoever attaches there next is not taken for this target.
        let mut hooks = row.known_to.iter().map(|hook| attach_type(*hook));
        hooks.try_for_each(|hook| self.numbers_by_hook.forget(cgroup, hook))
    }

    /// Tells programs at functions of the kernel whom they have to do with.
    fn say_callers(&mut self) -> Result<(), KernelError> {
        let depths = self.rows.values().filter(|row| row.has_calls());
        let depths = depths.fold(0, |depths, row| depths | 1_u64 << row.level);
        let by_path = self.rows.values().flat_map(Row::sets).filter(|set| set.by_path).count();
        let callers = Callers { depths, by_path: by_path as u64 };
        if callers != self.said {
            self.callers.set(0, &callers, 0).map_err(failed("update", "CALLERS"))?;
            self.said = callers;
        }
        Ok(())
    }

    /// Whether a target at this depth finds room among the others with rules on calls.
    fn admit_depth(&self, level: u32) -> Result<(), KernelError> {
        let depths = self.said.depths;
        let is_known = level < u64::BITS && depths >> level & 1 == 1;
        if level < u64::BITS && (is_known || (depths.count_ones() as usize) < MOST_DEPTHS) {
            return Ok(());
        }
        Err(KernelError::NoRoom {
            what: "targets with faults on system calls at another depth of the cgroup hierarchy",
            room: MOST_DEPTHS as u32,
            remedy: " depths; disarm a target at another depth",
        })
    }

    /// Sorts what the ring holds by texts.
    fn sort_records(&mut self) {
        for mut record in drain(&mut self.records, MOST_RECORDS) {
            let Some((key, local)) = self.owners.get(&record.slot) else { continue };
            let kept = self.kept.entry(*key).or_default();
            if kept.len() < MOST_KEPT {
                record.slot = *local;
                kept.push(record);
            }
        }
    }

    /// Has programs find a target by the id of its cgroup, or not any more.
    fn list_target(&mut self, cgroup: u64, number: Option<u32>) -> Result<(), KernelError> {
        match number {
            Some(number) => {
                self.targets.insert(&cgroup, &number, 0).map_err(failed("update", "TARGETS"))
            }
            None => match self.targets.remove(&cgroup) {
                Err(error) if !is_absent(&error) => Err(failed("delete from", "TARGETS")(error)),
                _ => Ok(()),
            },
        }
    }
}

const _: () = assert!(RuleSet::NONE == 0, "ids of sets and numbers of targets begin with 1");
