//! The maps of the object of one target.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, RingBuf},
};
use chaos_api::SlotCounts;
use chaos_ebpf_common::{
    MAX_RULES, SETS,
    hold::Hold,
    latencies::Table,
    record::{RING_BYTES, Record},
};
use chaos_plan::CompiledSet;

use super::{KernelError, grace::wait_for_running_programs, slots::Slots, tables::Tables};

/// Records that are read at once.
const MOST_RECORDS: usize = 4 * RING_BYTES / size_of::<Record>();

/// Until when the rules of an object may act.
#[derive(Clone)]
pub struct LeaseMap(Arc<Mutex<Array<MapData, u64>>>);

/// The number by which an object with one target has it.
const ONLY: u32 = 0;

/// Typed access to the maps of an instance.
pub struct TargetMaps {
    tables: Tables,
    slots: Slots,
    lease: LeaseMap,
    holds: Array<MapData, Hold>,
    latencies: Array<MapData, Table>,
    records: RingBuf<MapData>,
    /// 0: none was yet.
    set_in_force: u32,
    /// Of the set in force.
    generation: u32,
}

impl TargetMaps {
    /// Takes the maps out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            tables: Tables::take(ebpf)?,
            slots: Slots::take(ebpf)?,
            lease: LeaseMap::take(ebpf)?,
            holds: map(ebpf, "HOLDS")?,
            latencies: map(ebpf, "TABLES")?,
            records: map(ebpf, "RECORDS")?,
            set_in_force: 0,
            generation: 0,
        })
    }

    /// The id that the next rule set must be compiled for.
    pub fn next_set(&self) -> u32 {
        self.set_in_force % SETS as u32 + 1
    }

    /// Puts a rule set in force, whole: a program sees the old set or the new one, never a
    /// mixture. On an error the old set stays in force.
    pub fn replace(&mut self, compiled: &CompiledSet) -> Result<(), KernelError> {
        let set = compiled.set.id;
        let first_rule = (set - 1) * MAX_RULES as u32;
        let written = self.tables.write(compiled, first_rule, self.next_generation());
        if let Err(error) = written.and_then(|()| self.tables.lead(ONLY, &[set])) {
            // What is left is not in force.
            drop(self.tables.clear(set));
            return Err(error);
        }
        self.generation = self.next_generation();
        let old = std::mem::replace(&mut self.set_in_force, set);
        if old == 0 {
            // What an instance begins with is empty: there is nothing to take away, and a grace
            // period (10 to 30 ms) would only make the first fault late.
            return Ok(());
        }
        wait_for_running_programs()?;
        self.tables.clear(old)
    }

    fn next_generation(&self) -> u32 {
        self.generation.wrapping_add(1)
    }

    /// Where the lease is noted, for whoever takes it away.
    pub fn lease(&self) -> LeaseMap {
        self.lease.clone()
    }

    /// Says how long the new rule of a slot will hold frames. Call it before [`Self::replace`].
    pub fn set_hold(&mut self, slot: u32, hold: &Hold) -> Result<(), KernelError> {
        let hold = Hold { generation: self.next_generation(), ..*hold };
        self.holds.set(slot, &hold, 0).map_err(failed("update", "HOLDS"))
    }

    /// Puts latencies where [`Hold::table`] says `index + 1`, which no rule in force does.
    pub fn set_table(&mut self, index: u32, table: &Table) -> Result<(), KernelError> {
        self.latencies.set(index, table, 0).map_err(failed("update", "TABLES"))
    }

    /// Forgets the numbers of flows, but for those that the rules of these slots gave. So a map that has room for two
    /// rule sets is never full: what goes on is in one of them.
    pub fn keep_numbers_of(&mut self, slots: &BTreeSet<u32>) -> Result<(), KernelError> {
        self.slots.forget_numbers(|slot| !slots.contains(&slot))
    }

    /// Forgets counts, ordinals and budgets of a slot, for a new rule.
    pub fn reset_slot(&mut self, slot: u32) -> Result<(), KernelError> {
        self.slots.reset(slot)
    }

    /// The counts of a slot.
    pub fn counts(&self, slot: u32) -> Result<SlotCounts, KernelError> {
        self.slots.counts(slot)
    }

    /// The records that have come in since the last call, at most a few rings full: programs may
    /// write faster than this reads. A sample, see [`Record`].
    pub fn drain_records(&mut self) -> Vec<Record> {
        drain(&mut self.records, MOST_RECORDS)
    }
}

/// Reads so many records at most.
pub(super) fn drain(ring: &mut RingBuf<MapData>, most: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < most
        && let Some(item) = ring.next()
    {
        records.extend(Record::from_bytes(&item));
    }
    records
}

impl LeaseMap {
    /// Takes the map out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self(Arc::new(Mutex::new(map(ebpf, "LEASE")?))))
    }

    /// Lets rules act until this boot-clock moment (ns).
    pub fn set(&self, until: u64) -> Result<(), KernelError> {
        // It is written in one call, so whoever panicked has left it whole.
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.set(0, &until, 0).map_err(failed("update", "LEASE"))
    }
}

/// Whether the error says that there is no such entry.
pub(super) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

pub(super) fn map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, KernelError>
where
    M: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(KernelError::Lacks { what: "map", name })?;
    M::try_from(map).map_err(failed("open", name))
}

pub(super) fn failed(call: &'static str, map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| KernelError::Map { call, map, source }
}
