//! Takes maps out of the object, and reads and writes them.

use std::sync::{Arc, Mutex, PoisonError};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, RingBuf},
};
use chaos_ebpf_common::record::Record;

use super::KernelError;

/// Until when the rules of an object may act.
#[derive(Clone)]
pub struct LeaseMap(Arc<Mutex<Array<MapData, u64>>>);

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
