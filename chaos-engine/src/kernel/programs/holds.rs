//! Says to programs how long rules hold frames.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use chaos_ebpf_common::{hold::Hold, latencies::Table};

use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

pub(super) struct Holds {
    /// By ledger slot.
    holds: Array<MapData, Hold>,
    latencies: Array<MapData, Table>,
    /// Tells rules apart that have the same slot one after the other.
    generation: u32,
}

/// How the rule of a slot holds frames.
pub struct Holding {
    pub hold: Hold,
    /// What it picks from, if it has several latencies.
    pub latencies: Option<Box<Table>>,
    /// Whether every flow has its rate to itself.
    pub is_per_flow: bool,
}

impl Holds {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { holds: map(ebpf, "HOLDS")?, latencies: map(ebpf, "TABLES")?, generation: 0 })
    }

    /// Says how the new rule of a slot holds frames, with its table of latencies and its block of flows, if it has some.
    pub(super) fn set(
        &mut self,
        slot: u32,
        holding: &Holding,
        table: Option<u32>,
        block: Option<u32>,
    ) -> Result<(), KernelError> {
        if let (Some(table), Some(latencies)) = (table, &holding.latencies) {
            let set = self.latencies.set(table, &**latencies, 0);
            set.map_err(failed("update", "TABLES"))?;
        }
        self.generation = self.generation.wrapping_add(1);
        // 0 stands for none.
        let number = |place: Option<u32>| place.map_or(0, |place| place + 1);
        let hold = Hold {
            table: number(table),
            flows: number(block),
            generation: self.generation,
            ..holding.hold
        };
        self.holds.set(slot, &hold, 0).map_err(failed("update", "HOLDS"))
    }
}
