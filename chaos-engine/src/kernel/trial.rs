//! Runs programs once on frames of the caller's making, attached to nothing.

use aya::{
    Ebpf, TestRun, TestRunOptions,
    maps::{Array, MapData},
    programs::{Program, ProgramError},
};
use chaos_api::SlotCounts;
use chaos_ebpf_common::tables::FrameOwner;
use chaos_plan::{CompiledSet, Hook};

use super::{
    KernelError, LeaseMap, Object,
    maps::{failed, map},
    slots::Slots,
    tables::Tables,
};

/// The number of the only target of a trial: that of a frame and of a cgroup for which nobody has noted one.
const ONLY: u32 = 0;

/// A target to which nothing is attached, with rules in force. For tests of what no network would carry.
pub struct TrialTarget {
    object: Object,
    tables: Tables,
    slots: Slots,
    /// Programs are loaded with them, later.
    _lease: LeaseMap,
    _owners: Array<MapData, FrameOwner>,
}

impl TrialTarget {
    /// The id of its only rule set.
    pub const SET: u32 = 1;

    /// For the cgroup with this id and depth; nothing matches yet.
    pub fn load(cgroup: u64, level: u32) -> Result<Self, KernelError> {
        let mut object = Object::load(&[])?;
        let (tables, slots) = (Tables::take(object.ebpf())?, Slots::take(object.ebpf())?);
        let mut owners: Array<_, FrameOwner> = map(object.ebpf(), "FRAME_OWNERS")?;
        let owner = FrameOwner { cgroup, level, padding: 0 };
        owners.set(ONLY, &owner, 0).map_err(failed("update", "FRAME_OWNERS"))?;
        let lease = LeaseMap::take(object.ebpf())?;
        lease.set(u64::MAX)?;
        Ok(Self { object, tables, slots, _lease: lease, _owners: owners })
    }

    /// Puts rules in force that are compiled for [`TrialTarget::SET`].
    pub fn judge_by(&mut self, compiled: &CompiledSet) -> Result<(), KernelError> {
        self.tables.write(compiled, 0)?;
        self.tables.lead(&[ONLY], &[Self::SET])
    }

    /// Runs the program of a packet hook once on an Ethernet frame. The packet belongs to a socket of the calling
    /// thread's cgroup, and `gso_size` is its segment size where it is to be segmented later, else 0.
    pub fn try_frame(
        &mut self,
        hook: Hook,
        frame: &[u8],
        gso_size: u32,
    ) -> Result<Trial, KernelError> {
        self.object.try_frame(hook, frame, gso_size)
    }

    /// The counts of a slot.
    pub fn counts(&self, slot: u32) -> Result<SlotCounts, KernelError> {
        self.slots.counts(slot)
    }

    /// How many instructions the verifier walked before it accepted the program of a hook; `None`
    /// where the kernel does not tell (before 5.16). It rejects what takes more than a million.
    pub fn verified_instructions(&mut self, hook: Hook) -> Result<Option<u32>, KernelError> {
        self.object.verified_instructions(hook)
    }
}

/// Where `struct __sk_buff` has its `gso_size`, and where that ends
/// (`include/uapi/linux/bpf.h`; the layout never changes).
const GSO_SIZE: std::ops::Range<usize> = 176..180;
const CONTEXT_BYTES: usize = 184;

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What the program returned, such as 2 of `cgroup_skb/egress` for a loss.
    pub verdict: u32,
    /// The frame afterwards; without its link header for the cgroup hooks.
    pub frame: Vec<u8>,
}

/// `BPF_PROG_TEST_RUN` of a loaded program (kernel 4.12, `gso_size` 5.6).
/// <https://docs.kernel.org/bpf/bpf_prog_run.html>
pub(super) fn run(
    ebpf: &Ebpf,
    hook: Hook,
    frame: &[u8],
    gso_size: u32,
) -> Result<Trial, KernelError> {
    let mut context = [0; CONTEXT_BYTES];
    context[GSO_SIZE].copy_from_slice(&gso_size.to_ne_bytes());
    let mut out = vec![0; frame.len()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let result = match ebpf.program(hook.program()) {
        Some(Program::CgroupSkb(program)) => program.test_run(options),
        Some(Program::SchedClassifier(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|source| KernelError::Run { hook, source })?;
    out.truncate(result.data_size_out as usize);
    Ok(Trial { verdict: result.return_value, frame: out })
}
