//! The maps of a target by which programs and its delay line understand each other.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use chaos_ebpf_common::line::{PLACES, Reader};

use super::{
    KernelError,
    maps::{failed, map},
};

/// What is said of a delay line, what is heard of the programs, and where frames are sent on.
pub struct LineMaps {
    reader: Array<MapData, Reader>,
    given: Array<MapData, u64>,
    returned: Array<MapData, u64>,
    places: Array<MapData, u32>,
    /// Where each interface stands in `places`.
    known: HashMap<u32, u32>,
    next: u32,
}

impl LineMaps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            reader: map(ebpf, "READER")?,
            given: map(ebpf, "GIVEN")?,
            returned: map(ebpf, "RETURNED")?,
            places: map(ebpf, "PLACES")?,
            known: HashMap::new(),
            next: 0,
        })
    }

    /// Says to the programs how the line is.
    pub fn say(&mut self, reader: &Reader) -> Result<(), KernelError> {
        self.reader.set(0, reader, 0).map_err(failed("update", "READER"))
    }

    /// How many bytes the programs have given to the line.
    pub fn given(&self) -> Result<u64, KernelError> {
        self.given.get(&0, 0).map_err(failed("look up", "GIVEN"))
    }

    /// How many bytes the programs have got back from a line that is a queue.
    pub fn returned(&self) -> Result<u64, KernelError> {
        self.returned.get(&0, 0).map_err(failed("look up", "RETURNED"))
    }

    /// Where the interface stands in the table, for the frame that is sent on next: a place may be
    /// given to another one when there are more than [`PLACES`].
    pub fn place(&mut self, interface: u32) -> Result<u32, KernelError> {
        if let Some(place) = self.known.get(&interface) {
            return Ok(*place);
        }
        let place = self.next;
        self.places.set(place, &interface, 0).map_err(failed("update", "PLACES"))?;
        self.next = (place + 1) % PLACES;
        self.known.retain(|_, other| *other != place);
        self.known.insert(interface, place);
        Ok(place)
    }
}
