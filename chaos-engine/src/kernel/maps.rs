//! The maps of one target.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, LpmTrie, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf,
        lpm_trie::Key,
    },
};
use aya_obj::generated::BPF_NOEXIST;
use chaos_api::SlotCounts;
use chaos_ebpf_common::{
    MAX_RULES, SETS,
    event::FileId,
    flow_numbers,
    hold::Hold,
    latencies::Table,
    ledger::{COUNTS, Count, RuleCounts},
    record::{RING_BYTES, Record},
    rule::{Rule, RuleSet, RuleState},
    tables::{Ends, FileKey, PathKey, PeerKey4, PeerKey6, PortKey, call_index},
};
use chaos_plan::CompiledSet;

use super::KernelError;

/// Records that are read at once.
const MOST_RECORDS: usize = 4 * RING_BYTES / size_of::<Record>();

/// Until when the rules of a target may act.
#[derive(Clone)]
pub struct LeaseMap(Arc<Mutex<Array<MapData, u64>>>);

/// Typed access to the maps of an instance.
pub struct TargetMaps {
    active: Array<MapData, u32>,
    heads: Array<MapData, RuleSet>,
    rules: Array<MapData, Rule>,
    peers4: LpmTrie<MapData, PeerKey4, Ends>,
    peers6: LpmTrie<MapData, PeerKey6, Ends>,
    ports: LpmTrie<MapData, PortKey, Ends>,
    calls: Array<MapData, u64>,
    paths: LpmTrie<MapData, PathKey, u64>,
    files: HashMap<MapData, FileKey, u64>,
    /// The entries of `calls` that each set has written.
    written_calls: [Vec<u16>; SETS],
    lease: LeaseMap,
    holds: Array<MapData, Hold>,
    tables: Array<MapData, Table>,
    numbered: HashMap<MapData, u64, u64>,
    states: Array<MapData, RuleState>,
    ledger: PerCpuArray<MapData, RuleCounts>,
    records: RingBuf<MapData>,
    set_in_force: u32,
    /// Of the set in force.
    generation: u32,
    /// No rule set was in force yet.
    is_fresh: bool,
}

impl TargetMaps {
    /// Takes the maps out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            active: map(ebpf, "ACTIVE")?,
            heads: map(ebpf, "HEADS")?,
            rules: map(ebpf, "RULES")?,
            peers4: map(ebpf, "PEERS4")?,
            peers6: map(ebpf, "PEERS6")?,
            ports: map(ebpf, "PORTS")?,
            calls: map(ebpf, "CALLS")?,
            paths: map(ebpf, "PATHS")?,
            files: map(ebpf, "FILES")?,
            written_calls: Default::default(),
            lease: LeaseMap(Arc::new(Mutex::new(map(ebpf, "LEASE")?))),
            holds: map(ebpf, "HOLDS")?,
            tables: map(ebpf, "TABLES")?,
            numbered: map(ebpf, "NUMBERED")?,
            states: map(ebpf, "STATES")?,
            ledger: map(ebpf, "LEDGER")?,
            records: map(ebpf, "RECORDS")?,
            set_in_force: 0,
            generation: 0,
            is_fresh: true,
        })
    }

    /// The id that the next rule set must be compiled for.
    pub fn next_set(&self) -> u32 {
        (self.set_in_force + 1) % SETS as u32
    }

    /// Puts a rule set in force, whole: a program sees the old set or the new one, never a
    /// mixture. On an error the old set stays in force.
    pub fn replace(&mut self, compiled: &CompiledSet) -> Result<(), KernelError> {
        if let Err(error) = self.write(compiled) {
            // The next attempt clears again before it writes; what is left is not in force.
            drop(self.clear(compiled.set.id));
            return Err(error);
        }
        self.active.set(0, &compiled.set.id, 0).map_err(failed("update", "ACTIVE"))?;
        self.generation = self.next_generation();
        let old = std::mem::replace(&mut self.set_in_force, compiled.set.id);
        if std::mem::take(&mut self.is_fresh) {
            // What an instance begins with is empty: there is nothing to take away, and a grace
            // period (10 to 30 ms) would only make the first fault late.
            return Ok(());
        }
        self.wait_for_programs()?;
        self.clear(old)
    }

    fn write(&mut self, compiled: &CompiledSet) -> Result<(), KernelError> {
        let CompiledSet { set, rules, peers4, peers6, ports, calls, paths } = compiled;
        self.clear(set.id)?;
        for (bits, key, ends) in peers4 {
            self.peers4
                .insert(&Key::new(*bits, *key), ends, 0)
                .map_err(failed("update", "PEERS4"))?;
        }
        for (bits, key, ends) in peers6 {
            self.peers6
                .insert(&Key::new(*bits, *key), ends, 0)
                .map_err(failed("update", "PEERS6"))?;
        }
        for (bits, key, ends) in ports {
            self.ports
                .insert(&Key::new(*bits, *key), ends, 0)
                .map_err(failed("update", "PORTS"))?;
        }
        for (bits, key, rules) in paths {
            self.paths
                .insert(&Key::new(*bits, *key), rules, 0)
                .map_err(failed("update", "PATHS"))?;
        }
        self.written_calls[set.id as usize].extend(calls.keys());
        for (number, rules) in calls {
            self.set_calls(set.id, *number, *rules)?;
        }
        let first = set.id * MAX_RULES as u32;
        for (index, rule) in (first..).zip(rules) {
            self.rules.set(index, rule, 0).map_err(failed("update", "RULES"))?;
        }
        let head = RuleSet { generation: self.next_generation(), ..*set };
        self.heads.set(set.id, &head, 0).map_err(failed("update", "HEADS"))
    }

    /// Removes what a set that is not in force has left in the tables.
    fn clear(&mut self, set: u32) -> Result<(), KernelError> {
        self.heads.set(set, &RuleSet::empty(set), 0).map_err(failed("update", "HEADS"))?;
        clear_trie(&mut self.peers4, "PEERS4", |key| key.set == set)?;
        clear_trie(&mut self.peers6, "PEERS6", |key| key.set == set)?;
        clear_trie(&mut self.ports, "PORTS", |key| key.set == set)?;
        clear_trie(&mut self.paths, "PATHS", |key| key.set == set)?;
        for number in std::mem::take(&mut self.written_calls[set as usize]) {
            self.set_calls(set, number, 0)?;
        }
        Ok(())
    }

    /// Says which rules of the set in force the path of a file meets that was opened before. What
    /// programs have found out themselves stays.
    pub fn remember_file(&mut self, file: FileId, rules: u64) -> Result<(), KernelError> {
        let key = FileKey { file, generation: self.generation, padding: 0 };
        match self.files.insert(&key, &rules, u64::from(BPF_NOEXIST)) {
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(())
            }
            other => other.map_err(failed("update", "FILES")),
        }
    }

    fn next_generation(&self) -> u32 {
        self.generation.wrapping_add(1)
    }

    fn set_calls(&mut self, set: u32, number: u16, rules: u64) -> Result<(), KernelError> {
        // Numbers beyond the table are of no call that the planner knows.
        let Some(index) = call_index(set, number) else { return Ok(()) };
        self.calls.set(index, &rules, 0).map_err(failed("update", "CALLS"))
    }

    /// Where the lease is noted, for whoever takes it away.
    pub fn lease(&self) -> LeaseMap {
        self.lease.clone()
    }

    /// Waits until every program has ended that may have read what was said before.
    pub fn wait_for_programs(&self) -> Result<(), KernelError> {
        wait_for_running_programs()
    }

    /// Says how long the new rule of a slot will hold frames. Call it before [`Self::replace`].
    pub fn set_hold(&mut self, slot: u32, hold: &Hold) -> Result<(), KernelError> {
        let hold = Hold { generation: self.next_generation(), ..*hold };
        self.holds.set(slot, &hold, 0).map_err(failed("update", "HOLDS"))
    }

    /// Puts latencies where [`Hold::table`] says `index + 1`, which no rule in force does.
    pub fn set_table(&mut self, index: u32, table: &Table) -> Result<(), KernelError> {
        self.tables.set(index, table, 0).map_err(failed("update", "TABLES"))
    }

    /// Forgets the numbers of flows, but for those that the rules of these slots gave. So a map that has room for two
    /// rule sets is never full: what goes on is in one of them.
    pub fn keep_numbers_of(&mut self, slots: &BTreeSet<u32>) -> Result<(), KernelError> {
        let numbered: Result<Vec<(u64, u64)>, MapError> = self.numbered.iter().collect();
        for (flow, value) in numbered.map_err(failed("iterate", "NUMBERED"))? {
            if !slots.contains(&flow_numbers::slot_of(value)) {
                self.numbered.remove(&flow).map_err(failed("delete from", "NUMBERED"))?;
            }
        }
        Ok(())
    }

    /// Forgets counts, ordinals and budgets of a slot, for a new rule.
    pub fn reset_slot(&mut self, slot: u32) -> Result<(), KernelError> {
        self.states.set(slot, &RuleState::default(), 0).map_err(failed("update", "STATES"))?;
        let cpus = aya::util::nr_cpus()
            .map_err(|(_, source)| KernelError::Call { call: "count the CPUs", source })?;
        let zeros = PerCpuValues::try_from(vec![RuleCounts::default(); cpus.get() as usize])
            .map_err(|source| KernelError::Call { call: "count the CPUs", source })?;
        self.ledger.set(slot, zeros, 0).map_err(failed("update", "LEDGER"))
    }

    /// The counts of a slot.
    pub fn counts(&self, slot: u32) -> Result<SlotCounts, KernelError> {
        let per_cpu = self.ledger.get(&slot, 0).map_err(failed("look up", "LEDGER"))?;
        let mut sums = [0u64; COUNTS];
        for entry in per_cpu.iter() {
            for (sum, count) in sums.iter_mut().zip(entry.counts) {
                *sum += count;
            }
        }
        Ok(Count::ALL.into_iter().map(|count| (count, sums[count as usize])).collect())
    }

    /// The records that have come in since the last call, at most a few rings full: programs may
    /// write faster than this reads. A sample, see [`Record`].
    pub fn drain_records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < MOST_RECORDS
            && let Some(item) = self.records.next()
        {
            records.extend(Record::from_bytes(&item));
        }
        records
    }
}

impl LeaseMap {
    /// Lets rules act until this boot-clock moment (ns).
    pub fn set(&self, until: u64) -> Result<(), KernelError> {
        // It is written in one call, so whoever panicked has left it whole.
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.set(0, &until, 0).map_err(failed("update", "LEASE"))
    }
}

/// Programs run inside RCU read sections, and MEMBARRIER_CMD_GLOBAL is `synchronize_rcu()` (kernel 4.3,
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/sched/membarrier.c>).
fn wait_for_running_programs() -> Result<(), KernelError> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(KernelError::Call { call: "membarrier", source: io::Error::last_os_error() })
    }
}

fn clear_trie<K: Pod, V: Pod>(
    trie: &mut LpmTrie<MapData, K, V>,
    name: &'static str,
    belongs: impl Fn(K) -> bool,
) -> Result<(), KernelError> {
    let keys =
        trie.keys().collect::<Result<Vec<Key<K>>, MapError>>().map_err(failed("iterate", name))?;
    for key in keys {
        if belongs(key.data()) {
            trie.remove(&key).map_err(failed("delete from", name))?;
        }
    }
    Ok(())
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
