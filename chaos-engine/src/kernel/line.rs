//! The maps by which programs and the delay lines of targets understand each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use chaos_ebpf_common::line::{PLACES, Reader, place_of};

use super::{
    KernelError,
    maps::{failed, map},
};

/// Those of all targets. Each call takes no longer than bpf(2).
#[derive(Clone)]
pub(super) struct AllLines(Arc<Mutex<Lines>>);

struct Lines {
    reader: Array<MapData, Reader>,
    beat: Array<MapData, u64>,
    given: Array<MapData, u64>,
    returned: Array<MapData, u64>,
    places: Array<MapData, u32>,
}

/// What is said of the delay line of a target, what is heard of the programs, and where frames are sent on.
pub struct LineMaps {
    all: AllLines,
    /// The number of the target.
    target: u32,
    /// Where each interface stands among the target's places.
    known: HashMap<u32, u32>,
    next: u32,
}

impl AllLines {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self(Arc::new(Mutex::new(Lines {
            reader: map(ebpf, "READER")?,
            beat: map(ebpf, "BEAT")?,
            given: map(ebpf, "GIVEN")?,
            returned: map(ebpf, "RETURNED")?,
            places: map(ebpf, "PLACES")?,
        }))))
    }

    /// Those of the target with this number.
    pub(super) fn of(&self, target: u32) -> LineMaps {
        LineMaps { all: self.clone(), target, known: HashMap::new(), next: 0 }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Each is written in one call, so whoever panicked has left them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineMaps {
    /// Says to the programs how the line is.
    pub fn say(&mut self, reader: &Reader) -> Result<(), KernelError> {
        self.all.lines().reader.set(self.target, reader, 0).map_err(failed("update", "READER"))
    }

    /// Says to the programs at which boot-clock moment (ns) frames of all lines were last looked for.
    pub fn beat(&self, now: u64) -> Result<(), KernelError> {
        self.all.lines().beat.set(0, &now, 0).map_err(failed("update", "BEAT"))
    }

    /// How many bytes the programs have given to the line.
    pub fn given(&self) -> Result<u64, KernelError> {
        self.all.lines().given.get(&self.target, 0).map_err(failed("look up", "GIVEN"))
    }

    /// How many bytes the programs have got back from a line that is a queue.
    pub fn returned(&self) -> Result<u64, KernelError> {
        self.all.lines().returned.get(&self.target, 0).map_err(failed("look up", "RETURNED"))
    }

    /// Where the interface stands in the table, for the frame that is sent on next: a place may be
    /// given to another one when there are more than [`PLACES`].
    pub fn place(&mut self, interface: u32) -> Result<u32, KernelError> {
        if let Some(place) = self.known.get(&interface) {
            return Ok(*place);
        }
        let place = self.next;
        let at = place_of(self.target, place);
        self.all.lines().places.set(at, &interface, 0).map_err(failed("update", "PLACES"))?;
        self.next = (place + 1) % PLACES;
        self.known.retain(|_, other| *other != place);
        self.known.insert(interface, place);
        Ok(place)
    }
}
