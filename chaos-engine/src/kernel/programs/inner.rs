//! Maps of maps: one for each set, slot or target that needs one, so that the traffic of one takes no room from that of
//! another, and that who needs none takes none.

use std::collections::{BTreeMap, VecDeque};

use aya::{
    Ebpf, Pod,
    maps::{Array, ArrayOfMaps, HashMap, InnerMap, Map, MapData, MapError},
};
use aya_obj::generated::{
    BPF_NOEXIST,
    bpf_map_type::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LRU_HASH},
};

use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

/// In which the entry that was used least makes room for another.
pub(super) type Recent<K, V> = InnerMaps<HashMap<MapData, K, V>>;
/// With a fixed number of elements.
pub(super) type Arrays<V> = InnerMaps<Array<MapData, V>>;

/// Maps that are taken away at once.
const AT_ONCE: usize = 4;

type Make<M> = fn(&'static str, u32) -> Result<M, KernelError>;

pub(super) struct InnerMaps<M> {
    name: &'static str,
    /// Entries of each.
    entries: u32,
    make: Make<M>,
    all: ArrayOfMaps<MapData, M>,
    in_use: BTreeMap<u32, M>,
    /// Those whose maps nobody needs any more.
    left: VecDeque<u32>,
    /// In place of those that are not needed, with so many entries.
    nothing: Option<M>,
    entries_of_nothing: u32,
}

impl<M: InnerMap> InnerMaps<M> {
    fn new(
        name: &'static str,
        all: ArrayOfMaps<MapData, M>,
        (entries, entries_of_nothing): (u32, u32),
        make: Make<M>,
    ) -> Self {
        let (in_use, left, nothing) = (BTreeMap::new(), VecDeque::new(), None);
        Self { name, entries, make, all, in_use, left, nothing, entries_of_nothing }
    }

    /// Makes a map for the set, slot or target with this number, unless it has one: that may be one that it had before, and
    /// left. The kernel waits for a grace period.
    pub(super) fn need(&mut self, number: u32) -> Result<(), KernelError> {
        self.left.retain(|left| *left != number);
        if !self.in_use.contains_key(&number) {
            let made = (self.make)(self.name, self.entries)?;
            self.all.set(number, &made, 0).map_err(failed("update", self.name))?;
            self.in_use.insert(number, made);
        }
        Ok(())
    }

    /// Takes its map away, if it has one.
    pub(super) fn forget(&mut self, number: u32) -> Result<(), KernelError> {
        if self.in_use.remove(&number).is_none() {
            return Ok(());
        }
        let nothing = match &mut self.nothing {
            Some(nothing) => nothing,
            empty => empty.insert((self.make)(self.name, self.entries_of_nothing)?),
        };
        self.all.set(number, nothing, 0).map_err(failed("update", self.name))
    }

    /// Has the maps of all these taken away, when there is [time](Self::forget_some).
    pub(super) fn leave_all(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.left.extend(numbers.into_iter().filter(|number| self.in_use.contains_key(number)));
    }

    /// Takes some of them away: for each the kernel waits for a grace period.
    pub(super) fn forget_some(&mut self) -> Result<(), KernelError> {
        let some = self.left.len().min(AT_ONCE);
        for _ in 0..some {
            let Some(number) = self.left.front().copied() else { break };
            self.forget(number)?;
            self.left.pop_front();
        }
        Ok(())
    }
}

impl<K: Pod, V: Pod> Recent<K, V> {
    /// Takes the map of maps with this name out of a loaded object.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        name: &'static str,
        entries: usize,
    ) -> Result<Self, KernelError> {
        let make: Make<HashMap<MapData, K, V>> = |name, entries| {
            let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
            let kind = BPF_MAP_TYPE_LRU_HASH as u32;
            let definition = aya_obj::Map::new_from_params(kind, key, value, entries, 0);
            MapData::create(definition, name, None)
                .and_then(|data| HashMap::try_from(Map::LruHashMap(data)))
                .map_err(failed("create", name))
        };
        let (all, entries) = (map(ebpf, name)?, entries as u32);
        Ok(Self::new(name, all, (entries, 1), make))
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

impl<V: Pod> Arrays<V> {
    /// Takes the map of maps with this name out of a loaded object.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        name: &'static str,
        elements: usize,
    ) -> Result<Self, KernelError> {
        let make: Make<Array<MapData, V>> = |name, elements| {
            let (key, value) = (size_of::<u32>() as u32, size_of::<V>() as u32);
            let kind = BPF_MAP_TYPE_ARRAY as u32;
            let definition = aya_obj::Map::new_from_params(kind, key, value, elements, 0);
            MapData::create(definition, name, None)
                .and_then(|data| Array::try_from(Map::Array(data)))
                .map_err(failed("create", name))
        };
        let (all, elements) = (map(ebpf, name)?, elements as u32);
        // The kernel takes no array with another number of elements than the others.
        Ok(Self::new(name, all, (elements, elements), make))
    }

    /// Writes an element.
    pub(super) fn set(&mut self, number: u32, element: u32, value: &V) -> Result<(), KernelError> {
        let Some(map) = self.in_use.get_mut(&number) else { return Ok(()) };
        map.set(element, value, 0).map_err(failed("update", self.name))
    }
}
