//! Loads the programs that stand at interfaces: each notes for which targets it does, and jumps to the program that
//! decides for all targets.
//!
//! The table by which they jump (`BPF_MAP_TYPE_PROG_ARRAY`) is known to them and to this process alone. When this process
//! ends, however it ends, the kernel empties it, so every frame goes on from that moment: no matter how many links are to be
//! taken off one by one, each of which takes a grace period, and which filters stay.
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/arraymap.c> `bpf_fd_array_map_clear`

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use aya::{maps::MapData, programs::ProgramFd};
use aya_obj::generated::{
    BPF_ADD, BPF_ALU64, BPF_CALL, BPF_DW, BPF_EXIT, BPF_IMM, BPF_JMP, BPF_K, BPF_LD, BPF_LDX,
    BPF_MEM, BPF_MOV, BPF_PSEUDO_MAP_FD, BPF_STX, BPF_SUB, BPF_W, bpf_cmd,
    bpf_func_id::BPF_FUNC_tail_call, bpf_insn, bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY,
    bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS,
};
use chaos_ebpf_common::object::{
    FRAME_JUMP, FRAME_JUMPS, LINE_ENTER, LINE_RETURN, QUEUE_RETURN, TCX_EGRESS, TCX_INGRESS,
};

use super::{
    KernelError,
    bpf::{bpf, no_attr, own, set_element},
    loaded::wait_for_map,
    maps::failed,
    released_first::released_first,
};

/// Where a program at an interface jumps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Egress,
    Ingress,
    LineEnter,
    LineReturn,
    QueueReturn,
}

/// How many there are.
const DESTINATIONS: u32 = 5;

/// How long the kernel may take to free the table.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// `TCX_NEXT`, and `TC_ACT_UNSPEC` of a filter: whoever is behind decides.
const NEXT: i32 = -1;
/// `TCX_DROP`, and `TC_ACT_SHOT`.
const DROP: i32 = 2;

impl Destination {
    /// The name of the program.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Egress => TCX_EGRESS,
            Self::Ingress => TCX_INGRESS,
            Self::LineEnter => LINE_ENTER,
            Self::LineReturn => LINE_RETURN,
            Self::QueueReturn => QUEUE_RETURN,
        }
    }

    fn index(self) -> u32 {
        self as u32
    }

    /// Whether programs jump there for a group of targets, by its number, and not for one of them.
    fn is_of_groups(self) -> bool {
        match self {
            Self::Egress | Self::Ingress => true,
            Self::LineEnter | Self::LineReturn | Self::QueueReturn => false,
        }
    }

    /// What becomes of a frame when there is no program any more. What is at a device of ours goes nowhere.
    fn otherwise(self) -> i32 {
        match self {
            Self::Egress | Self::Ingress => NEXT,
            Self::LineEnter | Self::LineReturn | Self::QueueReturn => DROP,
        }
    }
}

/// The table, and the programs that jump by it.
pub(super) struct Jumps {
    /// Until it is dropped.
    table: Option<OwnedFd>,
    /// Of the table.
    id: u32,
    filled: BTreeSet<Destination>,
    /// By the number of the target, or of the group.
    programs: BTreeMap<(u32, Destination), OwnedFd>,
}

impl Jumps {
    pub(super) fn new() -> Result<Self, KernelError> {
        let (kind, word) = (BPF_MAP_TYPE_PROG_ARRAY as u32, size_of::<u32>() as u32);
        let definition = aya_obj::Map::new_from_params(kind, word, word, DESTINATIONS, 0);
        let made = MapData::create(definition, FRAME_JUMPS, None)
            .map_err(failed("create", FRAME_JUMPS))?;
        let id = made.info().map_err(failed("look at", FRAME_JUMPS))?.id();
        let table = released_first(made.fd().as_fd())
            .map_err(|source| KernelError::Call { call: "fcntl(F_DUPFD_CLOEXEC)", source })?;
        Ok(Self { table: Some(table), id, filled: BTreeSet::new(), programs: BTreeMap::new() })
    }

    /// Leads there to the program that decides, which must be loaded.
    pub(super) fn lead(
        &mut self,
        destination: Destination,
        program: &ProgramFd,
    ) -> Result<(), KernelError> {
        if let Some(table) = &self.table
            && !self.filled.contains(&destination)
        {
            let call = "bpf(BPF_MAP_UPDATE_ELEM) of the programs that others jump to";
            let program = program.as_fd().as_raw_fd();
            set_element(table.as_fd(), destination.index(), (&raw const program).cast())
                .map_err(|source| KernelError::Call { call, source })?;
            self.filled.insert(destination);
        }
        Ok(())
    }

    /// The program that jumps there for the target, or the group, with this number.
    pub(super) fn program(
        &mut self,
        number: u32,
        destination: Destination,
    ) -> Result<BorrowedFd<'_>, KernelError> {
        let program: &OwnedFd = match self.programs.entry((number, destination)) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                let table = self.table.as_ref().map_or(-1, AsRawFd::as_raw_fd);
                let program = load(&instructions(number, destination, table));
                let call = "bpf(BPF_PROG_LOAD) of a program that jumps";
                let program = program.map_err(|source| KernelError::Call { call, source })?;
                vacant.insert(program)
            }
        };
        Ok(program.as_fd())
    }

    /// Closes those of a target, or of a group; where one is attached, it stays.
    pub(super) fn forget(&mut self, number: u32, is_group: bool) {
        self.programs.retain(|(of, to), _| *of != number || to.is_of_groups() != is_group);
    }
}

impl Drop for Jumps {
    /// Nobody, and so not this process either, may look at the table while the kernel empties it (see
    /// [`wait_for_maps`](super::wait_for_maps)).
    fn drop(&mut self) {
        self.programs.clear();
        drop(self.table.take());
        wait_for_map(self.id, LONGEST_WAIT);
    }
}

/// Where `struct __sk_buff` has its `tc_classid` (`include/uapi/linux/bpf.h`; the layout never changes).
const CLASS: i16 = 72;

/// The registers of a program (<https://docs.kernel.org/bpf/classic_vs_extended.html>).
const R0: u8 = 0;
/// First argument: the context.
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;

/// The index is one that the verifier does not know. For one that it knows, processors jump to the program itself, and when
/// the table is emptied, the kernel changes each of these jumps and waits for a grace period in between.
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/net/bpf_jit_comp.c> `bpf_arch_poke_desc_update`
fn instructions(number: u32, destination: Destination, table: i32) -> [bpf_insn; 10] {
    let by_number = |code| BPF_ALU64 | code | BPF_K;
    // A number has no more than 16 bits: the kernel keeps no more of a class.
    let number = i32::from(u16::try_from(number).unwrap_or(u16::MAX));
    [
        instruction(by_number(BPF_MOV), R2, 0, 0, number),
        instruction(BPF_STX | BPF_MEM | BPF_W, R1, R2, CLASS, 0),
        instruction(BPF_LDX | BPF_MEM | BPF_W, R3, R1, CLASS, 0),
        instruction(by_number(BPF_SUB), R3, 0, 0, number),
        instruction(by_number(BPF_ADD), R3, 0, 0, destination.index() as i32),
        // An address takes two.
        instruction(BPF_LD | BPF_DW | BPF_IMM, R2, BPF_PSEUDO_MAP_FD as u8, 0, table),
        instruction(0, 0, 0, 0, 0),
        instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call as i32),
        instruction(by_number(BPF_MOV), R0, 0, 0, destination.otherwise()),
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    ]
}

fn instruction(code: u32, to: u8, from: u8, offset: i16, value: i32) -> bpf_insn {
    let registers = bpf_insn::new_bitfield_1(to, from);
    bpf_insn { code: code as u8, _bitfield_1: registers, off: offset, imm: value }
}

/// Loads a classifier.
fn load(instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    let license = c"Dual MIT/GPL";
    // SAFETY: this member of the union is the one that the command reads, and integers only.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = BPF_PROG_TYPE_SCHED_CLS as u32;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = license.as_ptr() as u64;
    for (to, from) in load.prog_name.iter_mut().zip(FRAME_JUMP.bytes()) {
        *to = from as _;
    }
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(own)
}
