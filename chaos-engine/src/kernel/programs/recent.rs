//! Maps in which programs remember what they have met: one for each set, or target, that needs one, so that the traffic
//! of one takes no room from that of another.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{ArrayOfMaps, HashMap, Map, MapData, MapError},
};
use aya_obj::generated::{BPF_NOEXIST, bpf_map_type::BPF_MAP_TYPE_LRU_HASH};

use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

type Inner<K, V> = HashMap<MapData, K, V>;

/// A map of such maps; in each, the entry that was used least makes room for another.
pub(super) struct Recent<K, V> {
    name: &'static str,
    /// Entries of each.
    entries: u32,
    all: ArrayOfMaps<MapData, Inner<K, V>>,
    in_use: BTreeMap<u32, Inner<K, V>>,
    /// In place of those that are not needed.
    nothing: Option<Inner<K, V>>,
}

impl<K: Pod, V: Pod> Recent<K, V> {
    /// Takes the map of maps with this name out of a loaded object.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        name: &'static str,
        entries: usize,
    ) -> Result<Self, KernelError> {
        let (all, entries) = (map(ebpf, name)?, entries as u32);
        Ok(Self { name, entries, all, in_use: BTreeMap::new(), nothing: None })
    }

    /// Makes a map for the set or target with this number, unless it has one. The kernel waits for a grace period.
    pub(super) fn remember_for(&mut self, number: u32) -> Result<(), KernelError> {
        if !self.in_use.contains_key(&number) {
            let made = make(self.name, self.entries)?;
            self.all.set(number, &made, 0).map_err(failed("update", self.name))?;
            self.in_use.insert(number, made);
        }
        Ok(())
    }

    /// Takes its map away.
    pub(super) fn forget(&mut self, number: u32) -> Result<(), KernelError> {
        if self.in_use.remove(&number).is_none() {
            return Ok(());
        }
        let nothing = match &mut self.nothing {
            Some(nothing) => nothing,
            empty => empty.insert(make(self.name, 1)?),
        };
        self.all.set(number, nothing, 0).map_err(failed("update", self.name))
    }

    /// Notes a value where programs have noted none.
    pub(super) fn remember(&mut self, number: u32, key: K, value: V) -> Result<(), KernelError> {
        let Some(map) = self.in_use.get_mut(&number) else { return Ok(()) };
        match map.insert(&key, &value, u64::from(BPF_NOEXIST)) {
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(())
            }
            other => other.map_err(failed("update", self.name)),
        }
    }
}

fn make<K: Pod, V: Pod>(name: &'static str, entries: u32) -> Result<Inner<K, V>, KernelError> {
    let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
    let kind = BPF_MAP_TYPE_LRU_HASH as u32;
    let definition = aya_obj::Map::new_from_params(kind, key, value, entries, 0);
    MapData::create(definition, name, None)
        .and_then(|data| HashMap::try_from(Map::LruHashMap(data)))
        .map_err(failed("create", name))
}
