//! What is counted for a rule, in the kernel or by a supervisor of system calls.

use std::collections::BTreeMap;

use chaos_ebpf_common::ledger::Count;

/// Counts of one ledger slot, summed over the CPUs.
pub type SlotCounts = BTreeMap<Count, u64>;
