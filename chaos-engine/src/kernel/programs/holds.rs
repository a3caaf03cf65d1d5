//! Says to programs how long rules hold frames.

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use chaos_ebpf_common::{
    flows::{self, FlowGroup},
    hold::Hold,
    latencies::Table,
};

use super::inner::Arrays;
use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

/// By ledger slot.
pub(super) struct Holds {
    holds: Array<MapData, Hold>,
    /// Of rules that have several.
    latencies: Arrays<Table>,
    /// Of rules that give flows a rate each, when the last frame of each leaves.
    flows: Arrays<FlowGroup>,
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
        Ok(Self {
            holds: map(ebpf, "HOLDS")?,
            latencies: Arrays::take(ebpf, "TABLES", 1)?,
            flows: Arrays::take(ebpf, "FLOWS", flows::GROUPS)?,
            generation: 0,
        })
    }

    /// Says how the new rule of a slot holds frames.
    pub(super) fn set(&mut self, slot: u32, holding: &Holding) -> Result<(), KernelError> {
        if let Some(latencies) = &holding.latencies {
            self.latencies.need(slot)?;
            self.latencies.set(slot, 0, latencies)?;
        }
        if holding.is_per_flow {
            self.flows.need(slot)?;
        }
        self.generation = self.generation.wrapping_add(1);
        let hold = Hold {
            from_table: holding.latencies.is_some().into(),
            per_flow: holding.is_per_flow.into(),
            generation: self.generation,
            ..holding.hold
        };
        self.holds.set(slot, &hold, 0).map_err(failed("update", "HOLDS"))
    }

    /// Has what belongs to these slots taken away, at which no program looks any more.
    pub(super) fn leave(&mut self, slots: &BTreeSet<u32>) {
        self.latencies.leave_all(slots.iter().copied());
        self.flows.leave_all(slots.iter().copied());
    }

    /// Takes some of that away.
    pub(super) fn forget_some(&mut self) -> Result<(), KernelError> {
        self.latencies.forget_some()?;
        self.flows.forget_some()
    }
}
