//! One text in force on one cgroup.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    os::fd::BorrowedFd,
};

use chaos_api::SlotCounts;
use chaos_ebpf_common::{MAX_TEXTS, event::FileId, record::Record};
use chaos_plan::{Attachment, CompiledSet, Hook};

use super::{Holding, Key, Loaded, Programs, Set, rows::Placed};
use crate::kernel::{KernelError, at_function::Missed, links::attach_type, pool::Range};

/// A text's place among those of its target. Dropping it ends the text.
pub struct Text {
    programs: Programs,
    key: Key,
    /// The id of the cgroup.
    cgroup: u64,
    /// The ledger slots of the object, by the numbers by which the text has them.
    slots: BTreeMap<u32, u32>,
}

/// Where the rules of a text act.
pub struct Wants<'a> {
    pub cgroup: BorrowedFd<'a>,
    /// For error messages.
    pub path: &'a str,
    /// Those that are attached to cgroups.
    pub hooks: &'a BTreeSet<Hook>,
    /// By function of the kernel.
    pub functions: &'a BTreeMap<String, Attachment>,
}

impl Programs {
    /// Makes a place for a text on the cgroup with this id and depth. Nothing is in force.
    pub fn open(&self, cgroup: u64, level: u32) -> Result<Text, KernelError> {
        let mut loaded = self.loaded();
        let loaded = &mut *loaded;
        let texts: usize = loaded.rows.values().map(|row| row.texts.len()).sum();
        loaded.rooms.admit_text(texts)?;
        let key = Key(loaded.next_key);
        let row = loaded.row(cgroup, level)?;
        if row.texts.len() >= MAX_TEXTS {
            return Err(KernelError::NoRoom {
                what: "another text on this target",
                room: MAX_TEXTS as u32,
                remedy: "; disarm one of them, or write the faults of several in one text",
            });
        }
        row.texts.push(Placed {
            key,
            set: None,
            hooks: BTreeSet::new(),
            functions: BTreeMap::new(),
        });
        loaded.next_key += 1;
        let programs = self.clone();
        Ok(Text { programs, key, cgroup, slots: BTreeMap::new() })
    }
}

impl Text {
    /// Allots a ledger slot that nothing was counted in, by this number of the text's own; in place of the one that
    /// the text had by it.
    pub fn renew_slot(&mut self, local: u32) -> Result<(), KernelError> {
        let mut loaded = self.programs.loaded();
        let slot = loaded.room(|rooms| rooms.slots.take(1), super::Rooms::no_rules)?;
        if let Err(error) = loaded.slots.reset(slot.first) {
            loaded.rooms.slots.give_back(slot);
            return Err(error);
        }
        loaded.owners.insert(slot.first, (self.key, local));
        if let Some(before) = self.slots.insert(local, slot.first) {
            loaded.free_slot(before);
        }
        Ok(())
    }

    /// Says how the new rule of a slot of the text's own holds frames.
    pub fn hold(&mut self, local: u32, holding: &Holding) -> Result<(), KernelError> {
        let Some(slot) = self.slots.get(&local) else { return Ok(()) };
        self.programs.loaded().holds.set(*slot, holding)
    }

    /// Gives back the slots with other numbers than these.
    pub fn keep_slots(&mut self, kept: &BTreeSet<u32>) {
        let mut loaded = self.programs.loaded();
        for (_, slot) in self.slots.extract_if(.., |local, _| !kept.contains(local)) {
            loaded.free_slot(slot);
        }
    }

    /// All slots of the object that the text has.
    pub fn all_slots(&self) -> impl Iterator<Item = u32> {
        self.slots.values().copied()
    }

    /// The slot of the object for one of the text's own.
    pub fn slot(&self, local: u32) -> Option<u32> {
        self.slots.get(&local).copied()
    }

    /// Whether so many rules find room in place of those that are in force.
    ///
    /// # Errors
    /// What there is no room for.
    pub fn admit(&self, rules: u32) -> Result<(), KernelError> {
        self.programs.loaded().admit_rules(self.key, rules)
    }

    /// Puts other rules in force, whole: a program sees the ones before or these, never a mixture. On an error those
    /// before stay in force. `compile` compiles that many `rules` for a set with the id that it is given.
    pub fn replace(
        &mut self,
        rules: u32,
        wants: &Wants<'_>,
        compile: impl FnOnce(u32) -> CompiledSet,
    ) -> Result<(), KernelError> {
        let mut loaded = self.programs.loaded();
        let loaded = &mut *loaded;
        loaded.admit_rules(self.key, rules)?;
        let set = loaded.write(rules, compile)?;
        if let Err(error) = loaded.attach(self.cgroup, self.key, wants) {
            loaded.drop_unused(set);
            return Err(error);
        }
        let before = loaded.swap(self.cgroup, self.key, Some(set));
        // First, so that no program is led to rules by paths and looks at none.
        let led = loaded
            .say_callers()
            .and_then(|()| loaded.remember_ended(self.cgroup))
            .and_then(|()| loaded.lead(self.cgroup));
        if let Err(error) = led {
            // Programs may be at the new one already.
            loaded.swap(self.cgroup, self.key, before);
            loaded.resting.push_back(set);
            return Err(error);
        }
        loaded.resting.extend(before);
        loaded.take_unneeded(self.cgroup, self.key, wants);
        Ok(())
    }

    /// Leads programs past the text.
    pub fn suspend(&mut self) -> Result<(), KernelError> {
        let mut loaded = self.programs.loaded();
        loaded.suspend(self.cgroup, self.key)
    }

    /// Suspends it for good, and takes off what it alone needed.
    pub fn end(&mut self) -> Result<(), KernelError> {
        let mut loaded = self.programs.loaded();
        loaded.end(self.cgroup, self.key)
    }

    /// Says which rules in force the path of a file meets that was opened before.
    pub fn remember_file(&mut self, file: FileId, rules: u64) -> Result<(), KernelError> {
        let mut loaded = self.programs.loaded();
        let loaded = &mut *loaded;
        let text = loaded.rows.get_mut(&self.cgroup).and_then(|row| row.text(self.key));
        match text.and_then(|text| text.set) {
            Some(set) => loaded.files.remember(set.id, file, rules),
            None => Ok(()),
        }
    }

    /// The counts of a slot of the text's own.
    pub fn counts(&self, local: u32) -> Result<SlotCounts, KernelError> {
        match self.slots.get(&local) {
            Some(slot) => self.programs.loaded().slots.counts(*slot),
            None => Ok(SlotCounts::default()),
        }
    }

    /// How many calls the programs at its functions were not asked about since then, of all callers together: of the
    /// text's own calls as many at most were missed.
    pub fn missed_at_most(&self) -> Result<u64, KernelError> {
        let mut loaded = self.programs.loaded();
        let text = loaded.rows.get_mut(&self.cgroup).and_then(|row| row.text(self.key));
        let Some(Placed { set, functions, .. }) = text else { return Ok(0) };
        // Whoever goes by no path does not miss one.
        let by_path = set.is_some_and(|set| set.by_path);
        let functions = functions.clone();
        let since = |(function, before): (String, Missed)| {
            let Missed { calls, paths } = loaded.missed(&function)?;
            let paths = if by_path { paths.saturating_sub(before.paths) } else { 0 };
            Ok(calls.saturating_sub(before.calls) + paths)
        };
        functions.into_iter().map(since).sum()
    }

    /// The records that have come in since the last call, as far as they were kept, by the text's own slots. A sample,
    /// see [`Record`].
    pub fn drain_records(&mut self) -> Vec<Record> {
        let mut loaded = self.programs.loaded();
        loaded.sort_records();
        loaded.kept.remove(&self.key).unwrap_or_default()
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut loaded = self.programs.loaded();
        if let Err(error) = loaded.end(self.cgroup, self.key) {
            tracing::warn!(%error, "a text was not taken out");
        }
        for slot in std::mem::take(&mut self.slots).into_values() {
            loaded.free_slot(slot);
        }
        loaded.kept.remove(&self.key);
    }
}

impl Loaded {
    fn free_slot(&mut self, slot: u32) {
        self.owners.remove(&slot);
        self.rooms.slots.rest(Range::one(slot));
    }

    /// Whether so many rules of a text find room among those of the others.
    fn admit_rules(&self, key: Key, rules: u32) -> Result<(), KernelError> {
        let others = self.rows.values().flat_map(|row| &row.texts).filter(|text| text.key != key);
        let taken: u32 = others.filter_map(|text| text.set).map(|set| set.rules.length).sum();
        self.rooms.admit_rules(taken + rules)
    }

    /// Notes which set of a text is in force; the one before.
    fn swap(&mut self, cgroup: u64, key: Key, set: Option<Set>) -> Option<Set> {
        let text = self.rows.get_mut(&cgroup).and_then(|row| row.text(key))?;
        std::mem::replace(&mut text.set, set)
    }

    /// Attaches what a text needs, besides what there is. On an error nothing is attached that was not before.
    fn attach(&mut self, cgroup: u64, key: Key, wants: &Wants<'_>) -> Result<(), KernelError> {
        let mut new = Vec::new();
        let attached = self
            .attach_hooks(cgroup, wants)
            .and_then(|()| self.list_caller(cgroup, wants))
            .and_then(|()| self.attach_functions(cgroup, key, wants, &mut new))
            .and_then(|()| self.missed_before(&new));
        let before = attached.inspect_err(|_| {
            new.iter().for_each(|function| self.leave_function(function));
            if let Some(row) = self.rows.get_mut(&cgroup) {
                row.drop_unneeded();
            }
        })?;
        if let Some(text) = self.rows.get_mut(&cgroup).and_then(|row| row.text(key)) {
            // Until the new rules are in force, those before may need theirs.
            text.hooks.extend(wants.hooks);
            text.functions.extend(before);
        }
        Ok(())
    }

    /// What the programs at these functions have missed so far.
    fn missed_before(&self, functions: &[&str]) -> Result<BTreeMap<String, Missed>, KernelError> {
        functions
            .iter()
            .map(|function| Ok(((*function).to_owned(), self.missed(function)?)))
            .collect()
    }

    fn attach_hooks(&mut self, cgroup: u64, wants: &Wants<'_>) -> Result<(), KernelError> {
        let Some(row) = self.rows.get_mut(&cgroup) else { return Ok(()) };
        for hook in wants.hooks {
            if let Entry::Vacant(vacant) = row.links.entry(*hook) {
                vacant.insert(self.object.attach_cgroup(*hook, wants.cgroup, wants.path)?);
            }
            if !row.known_to.contains(hook) {
                self.numbers_by_hook.tell(cgroup, attach_type(*hook), row.number)?;
                row.known_to.insert(*hook);
            }
        }
        Ok(())
    }

    /// Has programs at functions of the kernel find the target.
    fn list_caller(&mut self, cgroup: u64, wants: &Wants<'_>) -> Result<(), KernelError> {
        let row = self.rows.get(&cgroup).filter(|row| !row.is_listed);
        let Some(row) = row.filter(|_| !wants.functions.is_empty()) else { return Ok(()) };
        let number = row.number;
        self.admit_depth(row.level)?;
        self.list_target(cgroup, Some(number))?;
        if let Some(row) = self.rows.get_mut(&cgroup) {
            row.is_listed = true;
        }
        Ok(())
    }

    /// `new` gets the functions that the text did not need before.
    fn attach_functions<'a>(
        &mut self,
        cgroup: u64,
        key: Key,
        wants: &Wants<'a>,
        new: &mut Vec<&'a str>,
    ) -> Result<(), KernelError> {
        let text = self.rows.get_mut(&cgroup).and_then(|row| row.text(key));
        let has = text.map(|text| text.functions.clone()).unwrap_or_default();
        for (function, attachment) in wants.functions {
            if !has.contains_key(function) {
                self.need_function(function, attachment)?;
                new.push(function);
            }
        }
        Ok(())
    }

    /// Takes off what a text needed before and does not want now.
    fn take_unneeded(&mut self, cgroup: u64, key: Key, wants: &Wants<'_>) {
        let Some(row) = self.rows.get_mut(&cgroup) else { return };
        let Some(text) = row.text(key) else { return };
        text.hooks.clone_from(wants.hooks);
        let left = text.functions.extract_if(.., |name, _| !wants.functions.contains_key(name));
        let left: Vec<String> = left.map(|(name, _)| name).collect();
        row.drop_unneeded();
        left.iter().for_each(|function| self.leave_function(function));
    }

    fn suspend(&mut self, cgroup: u64, key: Key) -> Result<(), KernelError> {
        let Some(set) = self.swap(cgroup, key, None) else { return Ok(()) };
        if let Err(error) = self.lead(cgroup) {
            // Programs may be led there still.
            self.swap(cgroup, key, Some(set));
            return Err(error);
        }
        self.resting.push_back(set);
        self.say_callers()
    }

    fn end(&mut self, cgroup: u64, key: Key) -> Result<(), KernelError> {
        self.suspend(cgroup, key)?;
        let Some(row) = self.rows.get_mut(&cgroup) else { return Ok(()) };
        let Some(place) = row.texts.iter().position(|text| text.key == key) else {
            return Ok(());
        };
        let ended = row.texts.remove(place);
        row.drop_unneeded();
        let leaves = row.is_listed && !row.has_calls();
        ended.functions.keys().for_each(|function| self.leave_function(function));
        if leaves {
            self.list_target(cgroup, None)?;
            if let Some(row) = self.rows.get_mut(&cgroup) {
                row.is_listed = false;
            }
        }
        self.say_callers()?;
        self.forget_row_if_over(cgroup)
    }
}
