//! The maps in which programs remember which rules of a set a file meets: one for each set that goes by paths, so that
//! the files of one target take no room from those of another.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, HashMap, Map, MapData, MapError},
};
use aya_obj::generated::{BPF_NOEXIST, bpf_map_type::BPF_MAP_TYPE_LRU_HASH};
use chaos_ebpf_common::{event::FileId, tables::MAX_FILES};

use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

type OfSet = HashMap<MapData, FileId, u64>;

pub(super) struct Files {
    all: ArrayOfMaps<MapData, OfSet>,
    of_sets: BTreeMap<u32, OfSet>,
    /// For sets that do not go by paths.
    nothing: Option<OfSet>,
}

impl Files {
    /// Takes the map of maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { all: map(ebpf, "FILES")?, of_sets: BTreeMap::new(), nothing: None })
    }

    /// Makes a map for a set.
    pub(super) fn remember_for(&mut self, set: u32) -> Result<(), KernelError> {
        let files = make(MAX_FILES as u32)?;
        self.all.set(set, &files, 0).map_err(failed("update", "FILES"))?;
        self.of_sets.insert(set, files);
        Ok(())
    }

    /// Takes the map of a set away.
    pub(super) fn forget(&mut self, set: u32) -> Result<(), KernelError> {
        if self.of_sets.remove(&set).is_none() {
            return Ok(());
        }
        let nothing = match &mut self.nothing {
            Some(nothing) => nothing,
            empty => empty.insert(make(1)?),
        };
        self.all.set(set, nothing, 0).map_err(failed("update", "FILES"))
    }

    /// Says which rules of a set the path of a file meets that was opened before. What programs have found out
    /// themselves stays.
    pub(super) fn remember(
        &mut self,
        set: u32,
        file: FileId,
        rules: u64,
    ) -> Result<(), KernelError> {
        let Some(files) = self.of_sets.get_mut(&set) else { return Ok(()) };
        match files.insert(&file, &rules, u64::from(BPF_NOEXIST)) {
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(())
            }
            other => other.map_err(failed("update", "FILES")),
        }
    }
}

fn make(files: u32) -> Result<OfSet, KernelError> {
    let (key, value) = (size_of::<FileId>() as u32, size_of::<u64>() as u32);
    let definition =
        aya_obj::Map::new_from_params(BPF_MAP_TYPE_LRU_HASH as u32, key, value, files, 0);
    MapData::create(definition, "FILES", None)
        .and_then(|data| HashMap::try_from(Map::LruHashMap(data)))
        .map_err(failed("create", "FILES"))
}
