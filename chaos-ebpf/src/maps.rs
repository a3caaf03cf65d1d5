//! The maps of the object. The numbers of entries are those of a trial with one target; the agent gives others.

use core::mem::MaybeUninit;

#[expect(deprecated, reason = "kernels before 6.2 have no other")]
use aya_ebpf::btf_maps::CgroupStorage;
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, bpf_spin_lock},
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use chaos_ebpf_common::{
    MAX_PREFIXES, MAX_RULES, MAX_TEXTS, SETS, SLOTS,
    event::{Event, FileId},
    flow_numbers,
    flows::{self, FlowGroup},
    hold::Hold,
    latencies::Table,
    ledger::RuleCounts,
    line::{self, Reader},
    record::{RING_BYTES, Record},
    rule::{Rule, RuleSet, RuleState},
    tables::{
        self, Callers, Ends, FrameGroup, FrameMember, FrameOwner, MAX_ENDED, MAX_FILES, MAX_PATHS,
        NamespaceUser, PathKey, PeerKey4, PeerKey6, PortKey, UsedNamespace,
    },
};

const PREFIXES: usize = SETS * MAX_PREFIXES;

/// The number of the target that a cgroup is, for programs that are attached to it; the agent writes it. 0 is that of
/// no target but in a trial, where a program runs without being attached.
#[btf_map]
#[expect(deprecated, reason = "kernels before 6.2 have no other")]
pub static CGROUP_TARGET: CgroupStorage<u32> = CgroupStorage::new();

/// The target that a cgroup is, for the program that tells of namespaces; the agent writes it.
#[btf_map]
#[expect(deprecated, reason = "kernels before 6.2 have no other")]
pub static CGROUP_FRAMES: CgroupStorage<NamespaceUser> = CgroupStorage::new();

/// The network namespaces in which targets have made sockets, and when the agent was told of each (boot clock, ns).
#[btf_map]
pub static NAMESPACES: LruHashMap<UsedNamespace, u64, { tables::MAX_NAMESPACES }> =
    LruHashMap::new();

/// The numbers of targets that have made a socket in one of which the agent has not been told for a while.
#[btf_map]
pub static NAMESPACE_NEWS: RingBuf<u32, { tables::NAMESPACE_NEWS_BYTES }> = RingBuf::new();

/// For each target, by its number, the id of the rule set that is asked first, an index into [`HEADS`];
/// [`RuleSet::NONE`] where nothing is in force.
#[btf_map]
pub static FIRST_SETS: Array<u32, 1> = Array::new();

#[btf_map]
pub static HEADS: Array<RuleSet, { SETS + 1 }> = Array::new();

/// Those of a set are one behind the other from [`RuleSet::first_rule`] on.
#[btf_map]
pub static RULES: Array<Rule, { SETS * MAX_RULES }> = Array::new();

#[btf_map]
pub static PEERS4: LpmTrie<PeerKey4, Ends, PREFIXES> = LpmTrie::new();

#[btf_map]
pub static PEERS6: LpmTrie<PeerKey6, Ends, PREFIXES> = LpmTrie::new();

#[btf_map]
pub static PORTS: LpmTrie<PortKey, Ends, PREFIXES> = LpmTrie::new();

/// The rules of each system call, at [`tables::call_index`].
#[btf_map]
pub static CALLS: Array<u64, { tables::CALLS }> = Array::new();

/// The rules of each path, and of each name that is asked for: of the longest prefix, as in the other
/// tries.
#[btf_map]
pub static PATHS: LpmTrie<PathKey, u64, { SETS * MAX_PATHS }> = LpmTrie::new();

/// For each rule set that asks for paths, by its id, the rules of each file whose path has been looked at. Each has
/// a map of its own, so that the files of one target take no room from those of another.
#[btf_map]
pub static FILES: ArrayOfMaps<LruHashMap<FileId, u64, MAX_FILES>, 1> = ArrayOfMaps::new();

/// The numbers of the targets that have rules on system calls, by the ids of their cgroups.
#[btf_map]
pub static TARGETS: HashMap<u64, u32, 1> = HashMap::new();

/// One element: whom programs at functions of the kernel have to do with.
#[btf_map]
pub static CALLERS: Array<Callers, 1> = Array::new();

/// The targets in each network namespace, by the numbers of groups. What is not written yet is a trial's.
#[btf_map]
pub static FRAME_GROUPS: Array<FrameGroup, 1> = Array::new();

/// The numbers of the targets of groups. Without room of its own beforehand, as most targets are in one group.
#[btf_map]
pub static FRAME_MEMBERS: HashMap<FrameMember, u32, 1, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Whose frames programs at interfaces ask about, by the numbers of targets.
#[btf_map]
pub static FRAME_OWNERS: Array<FrameOwner, 1> = Array::new();

/// For each target with rules that reset connections, by its number, those that were reset, by
/// [`flow_of`](chaos_ebpf_common::hash::flow_of) them. Each has a map of its own, as with [`FILES`].
#[btf_map]
pub static ENDED: ArrayOfMaps<LruHashMap<u64, u8, MAX_ENDED>, 1> = ArrayOfMaps::new();

/// The longest path that the kernel spells out.
pub const NAME_BYTES: usize = 4096;

/// A path while it is looked at; it begins like a key of [`PATHS`].
#[repr(C)]
pub struct Name {
    pub bits: u32,
    pub set: u32,
    pub path: [u8; NAME_BYTES],
}

/// Room for a path for each function at which one is looked at, and for a name that is asked for: the
/// program there is not run again on a processor on which it is at work, while another one may be.
#[btf_map]
pub static NAMES: PerCpuArray<Name, 3> = PerCpuArray::new();

/// The rules of a target that speak of a frame while it is asked about, text by text.
#[repr(C)]
pub struct Asked {
    /// The ids of the rule sets of those that have such.
    pub sets: [u32; MAX_TEXTS],
    pub rules: [u64; MAX_TEXTS],
    /// What its headers say.
    pub event: MaybeUninit<Event>,
}

/// One element, for the frame that is asked about on a processor.
#[btf_map]
pub static ASKED: PerCpuArray<Asked, 1> = PerCpuArray::new();

/// One element: the boot-clock moment (ns) at which the lease lapses.
#[btf_map]
pub static LEASE: Array<u64, 1> = Array::new();

/// How long the rule of each slot holds frames.
#[btf_map]
pub static HOLDS: Array<Hold, SLOTS> = Array::new();

/// For each slot whose rule has several latencies, those.
#[btf_map]
pub static TABLES: ArrayOfMaps<Array<Table, 1>, SLOTS> = ArrayOfMaps::new();

/// What the agent says of the delay line of each target, by its number.
#[btf_map]
pub static READER: Array<Reader, 1> = Array::new();

/// The boot-clock moment (ns) at which whoever reads for the delay lines of all targets last looked for frames.
#[btf_map]
pub static BEAT: Array<u64, 1> = Array::new();

/// How many bytes were given to the delay line of each target.
#[btf_map]
pub static GIVEN: Array<u64, 1> = Array::new();

/// How many bytes came back from it, if it is a queue.
#[btf_map]
pub static RETURNED: Array<u64, 1> = Array::new();

/// The interfaces that frames come back to, at their [`line::place_of`].
#[btf_map]
pub static PLACES: Array<u32, { line::PLACES as usize }> = Array::new();

/// [`RuleState`] with its lock under the name by which the kernel finds it in BTF.
#[repr(C)]
pub struct LockedState {
    pub lock: bpf_spin_lock,
    pub in_second: u32,
    pub ordinal: u64,
    pub granted: u64,
    pub second: u64,
    pub burst: u32,
    pub padding: u32,
    pub departures: [u64; 2],
    pub drawn: [u64; 2],
}

const _: () = assert!(size_of::<LockedState>() == size_of::<RuleState>());

#[btf_map]
pub static STATES: Array<LockedState, SLOTS> = Array::new();

/// For each slot whose rule gives flows a rate each, these flows, at their [`flows::group`]. Who has the lock of the
/// slot's state may change them.
#[btf_map]
pub static FLOWS: ArrayOfMaps<Array<FlowGroup, { flows::GROUPS }>, SLOTS> = ArrayOfMaps::new();

/// The numbers of flows ([`flow_numbers::value`]), by their [`flow_numbers::key`]s. Without room of its own
/// beforehand, as few rules have a window of flows.
#[btf_map]
pub static NUMBERED: HashMap<
    u64,
    u64,
    { SETS * flow_numbers::MAX_NUMBERED },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub static LEDGER: PerCpuArray<RuleCounts, SLOTS> = PerCpuArray::new();

#[btf_map]
pub static RECORDS: RingBuf<Record, RING_BYTES> = RingBuf::new();
