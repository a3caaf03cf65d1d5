//! Reads and resets what rules remember and count, by their ledger slots.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues},
};
use chaos_api::SlotCounts;
use chaos_ebpf_common::{
    flow_numbers,
    ledger::{COUNTS, Count, RuleCounts},
    rule::RuleState,
};

use super::{
    KernelError,
    maps::{failed, is_absent, map},
};

/// The states and the counts of rules.
pub(super) struct Slots {
    states: Array<MapData, RuleState>,
    ledger: PerCpuArray<MapData, RuleCounts>,
    numbered: HashMap<MapData, u64, u64>,
}

impl Slots {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            states: map(ebpf, "STATES")?,
            ledger: map(ebpf, "LEDGER")?,
            numbered: map(ebpf, "NUMBERED")?,
        })
    }

    /// Forgets counts, ordinals and budgets of a slot, for a new rule.
    pub(super) fn reset(&mut self, slot: u32) -> Result<(), KernelError> {
        self.states.set(slot, &RuleState::default(), 0).map_err(failed("update", "STATES"))?;
        let cpus = aya::util::nr_cpus()
            .map_err(|(_, source)| KernelError::Call { call: "count the CPUs", source })?;
        let zeros = PerCpuValues::try_from(vec![RuleCounts::default(); cpus.get() as usize])
            .map_err(|source| KernelError::Call { call: "count the CPUs", source })?;
        self.ledger.set(slot, zeros, 0).map_err(failed("update", "LEDGER"))
    }

    /// Forgets the numbers of flows that the rules of these slots gave.
    pub(super) fn forget_numbers(
        &mut self,
        of_slot: impl Fn(u32) -> bool,
    ) -> Result<(), KernelError> {
        let numbered: Result<Vec<(u64, u64)>, MapError> = self.numbered.iter().collect();
        for (flow, value) in numbered.map_err(failed("iterate", "NUMBERED"))? {
            if !of_slot(flow_numbers::slot_of(value)) {
                continue;
            }
            match self.numbered.remove(&flow) {
                Err(error) if !is_absent(&error) => {
                    return Err(failed("delete from", "NUMBERED")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The counts of a slot.
    pub(super) fn counts(&self, slot: u32) -> Result<SlotCounts, KernelError> {
        let per_cpu = self.ledger.get(&slot, 0).map_err(failed("look up", "LEDGER"))?;
        let mut sums = [0u64; COUNTS];
        for entry in per_cpu.iter() {
            for (sum, count) in sums.iter_mut().zip(entry.counts) {
                *sum += count;
            }
        }
        Ok(Count::ALL.into_iter().map(|count| (count, sums[count as usize])).collect())
    }
}
