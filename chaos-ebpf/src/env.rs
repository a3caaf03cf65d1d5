//! The gate's environment in the kernel: BPF maps and helpers.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_spin_lock, bpf_spin_unlock},
};
use chaos_ebpf_common::{
    correlation,
    event::{Event, Family, FileId},
    flow_numbers, flows,
    gate::{self, Context, Decision, Env, Grant, Verdict},
    hold,
    ledger::Count,
    record::Record,
    rule::{Rule, RuleSet, RuleState},
    tables::{Ends, PeerKey4, PeerKey6, PortKey, SET_BITS, call_index},
};

use crate::maps::{
    CALLS, CGROUP_TARGET, FILES, FIRST_SETS, FLOWS, HEADS, LEASE, LEDGER, NUMBERED, PEERS4, PEERS6,
    PORTS, RECORDS, RULES, STATES,
};

/// A state of which one part is looked at.
const NOTHING: RuleState = RuleState {
    lock: 0,
    in_second: 0,
    ordinal: 0,
    granted: 0,
    second: 0,
    departures: [0; 2],
    drawn: [0; 2],
    burst: 0,
    padding: 0,
};

/// The maps of this object.
pub struct Maps;

impl Maps {
    /// The first rule set of the target whose cgroup the program is attached to; for programs that are attached to
    /// cgroups.
    #[inline(always)]
    pub fn first_of_this_cgroup(&self) -> u32 {
        // SAFETY: the pointer is to a live value, a number that is written whole.
        let target = unsafe { CGROUP_TARGET.get_ptr_mut().read_volatile() };
        self.first_of(target)
    }

    /// The first rule set of a target, by its number.
    #[inline(always)]
    pub fn first_of(&self, target: u32) -> u32 {
        FIRST_SETS.get(target).copied().unwrap_or(RuleSet::NONE)
    }

    /// The rule set with this id, unless that is the id of none.
    #[inline(always)]
    pub fn text(&self, id: u32) -> Option<&'static RuleSet> {
        if id == RuleSet::NONE { None } else { self.live_set(id) }
    }

    /// A set that has been seen in force, for as long as a program runs.
    #[inline(always)]
    pub fn live_set(&self, id: u32) -> Option<&'static RuleSet> {
        HEADS.get(id)
    }
}

impl Maps {
    /// [`hold::depart`] for a frame that this rule lets leave in one direction.
    #[inline(always)]
    pub fn depart(
        &self,
        slot: u32,
        ingress: bool,
        transmission: u64,
        queue: u64,
        now: u64,
    ) -> Option<u64> {
        let state = STATES.get_ptr_mut(slot)?;
        // SAFETY: the pointer is to a live map value; between lock and unlock nobody else
        // touches its fields.
        unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let mut last = (*state).departures[ingress as usize];
            let held = hold::depart(&mut last, transmission, queue, now);
            (*state).departures[ingress as usize] = last;
            bpf_spin_unlock(&raw mut (*state).lock);
            held
        }
    }

    /// [`correlation::go_on`] for a frame that this rule holds in one direction.
    #[inline(always)]
    pub fn go_on(&self, slot: u32, ingress: bool, entropy: u64) -> Option<u64> {
        let state = STATES.get_ptr_mut(slot)?;
        // SAFETY: as in `depart`.
        unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let mut last = (*state).drawn[ingress as usize];
            let chosen = correlation::go_on(&mut last, entropy);
            (*state).drawn[ingress as usize] = last;
            bpf_spin_unlock(&raw mut (*state).lock);
            Some(chosen)
        }
    }

    /// [`flows::depart`] for a frame of the flow with this key, under the rule of this slot.
    #[inline(always)]
    pub fn depart_in_flow(
        &self,
        slot: u32,
        key: u64,
        transmission: u64,
        queue: u64,
        now: u64,
    ) -> Option<u64> {
        let group = FLOWS.get(slot)?.get_ptr_mut(flows::group(key))?;
        let state = STATES.get_ptr_mut(slot)?;
        // SAFETY: the pointers are to live map values; between lock and unlock nobody else touches the group.
        unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let (keys, departures) = (&mut (*group).keys, &mut (*group).departures);
            let guests_until = &mut (*group).guests_until;
            let held = flows::depart(guests_until, keys, departures, key, transmission, queue, now);
            bpf_spin_unlock(&raw mut (*state).lock);
            held
        }
    }
}

impl Env for Maps {
    #[inline(always)]
    fn set(&self, id: u32) -> Option<&RuleSet> {
        self.live_set(id)
    }

    #[inline(always)]
    fn rule(&self, place: u32) -> Option<&Rule> {
        RULES.get(place)
    }

    #[inline(always)]
    fn peer(&self, set: u32, family: Family, address: &[u8; 16]) -> Ends {
        let found = match family {
            Family::V4 => {
                let address = [address[0], address[1], address[2], address[3]];
                PEERS4.get(&Key::new(SET_BITS + 32, PeerKey4 { set, address }))
            }
            Family::V6 => PEERS6.get(&Key::new(
                SET_BITS + 128,
                PeerKey6 { set, address: *address, padding: [0; 4] },
            )),
            Family::None => None,
        };
        found.copied().unwrap_or(Ends::NONE)
    }

    #[inline(always)]
    fn port(&self, set: u32, port: u16) -> Ends {
        let key = PortKey { set, port: port.to_be_bytes(), padding: [0; 2] };
        PORTS.get(&Key::new(SET_BITS + 16, key)).copied().unwrap_or(Ends::NONE)
    }

    #[inline(always)]
    fn calls(&self, set: u32, number: u16) -> u64 {
        call_index(set, number).and_then(|at| CALLS.get(at)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn paths(&self, set: u32, file: &FileId) -> u64 {
        // SAFETY: the value is an integer, read at once; whoever changes it writes it whole.
        let rules = FILES.get(set).and_then(|files| unsafe { files.get(file) });
        rules.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes nothing and only reads a clock (kernel 5.8).
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn lease(&self) -> u64 {
        LEASE.get(0).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn ordinal(&self, rule: &Rule) -> Option<(u64, bool)> {
        let state = STATES.get_ptr_mut(rule.slot)?;
        // SAFETY: the pointer is to a live map value; between lock and unlock nobody else
        // touches its fields.
        unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let mut copy =
                RuleState { ordinal: (*state).ordinal, burst: (*state).burst, ..NOTHING };
            let counted = gate::next_ordinal(&mut copy, rule);
            (*state).ordinal = copy.ordinal;
            (*state).burst = copy.burst;
            bpf_spin_unlock(&raw mut (*state).lock);
            Some(counted)
        }
    }

    /// A flow is put into the map before it gets its number, so that two processors do not count it twice: one that
    /// meets it in between does not know the number.
    #[inline(always)]
    fn flow_number(&self, rule: &Rule, flow: u64) -> Option<u32> {
        let key = flow_numbers::key(flow, rule);
        if let Some(number) = known_number(&key) {
            return number;
        }
        let state = STATES.get_ptr_mut(rule.slot)?;
        let most = gate::numbered(rule);
        // SAFETY: the pointer is to a live map value; the number of flows only grows, and whoever sees an old one
        // gets the next one below.
        if unsafe { (&raw const (*state).ordinal).read_volatile() } >= most as u64 {
            return Some(most.saturating_add(1));
        }
        let unnumbered = flow_numbers::value(rule.slot, 0);
        if NUMBERED.insert(&key, &unnumbered, BPF_NOEXIST as u64).is_err() {
            return known_number(&key).flatten();
        }
        // SAFETY: as in `ordinal`.
        let number = unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let number = (*state).ordinal + 1;
            (*state).ordinal = number;
            bpf_spin_unlock(&raw mut (*state).lock);
            number as u32
        };
        if let Some(value) = NUMBERED.get_ptr_mut(&key) {
            // SAFETY: the pointer is to a live map value, and nobody else writes one that has no number.
            unsafe { value.write_volatile(flow_numbers::value(rule.slot, number)) };
        }
        Some(number)
    }

    #[inline(always)]
    fn grant(&self, rule: &Rule, now: u64) -> Grant {
        let Some(state) = STATES.get_ptr_mut(rule.slot) else {
            return Grant::Spent;
        };
        // SAFETY: as in `ordinal`.
        unsafe {
            bpf_spin_lock(&raw mut (*state).lock);
            let mut copy = RuleState {
                in_second: (*state).in_second,
                granted: (*state).granted,
                second: (*state).second,
                ..NOTHING
            };
            let grant = gate::grant(&mut copy, rule, now);
            (*state).in_second = copy.in_second;
            (*state).granted = copy.granted;
            (*state).second = copy.second;
            bpf_spin_unlock(&raw mut (*state).lock);
            grant
        }
    }

    #[inline(always)]
    fn count(&self, slot: u32, count: Count) {
        if let Some(entry) = LEDGER.get_ptr_mut(slot) {
            // Atomic although per CPU: a softirq or another task may interrupt this program and
            // count on the same CPU.
            // SAFETY: the pointer is to a live map value and `Count` is below COUNTS.
            unsafe {
                let counter = (&raw mut (*entry).counts).cast::<u64>().add(count as usize);
                atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
            }
        }
    }

    #[inline(always)]
    fn emit(&self, event: &Event, verdict: &Verdict, shadow: bool) {
        if let Some(mut entry) = RECORDS.reserve(0) {
            entry.write(Record::new(event, verdict, shadow));
            entry.submit(0);
        }
    }

    #[inline(always)]
    fn walk(&self, matching: u64, context: &Context) -> Decision {
        Decision(chaos_walk(matching, context.now, context.flow, flags(context)))
    }

    #[inline(always)]
    fn evaluate_rule(&self, bit: u32, context: &Context) -> Decision {
        Decision(chaos_ask(bit, context.now, context.flow, flags(context)))
    }
}

/// The number of a flow that is in the map; `Some(None)` while it is being given.
#[inline(always)]
fn known_number(key: &u64) -> Option<Option<u32>> {
    let value = NUMBERED.get_ptr(key)?;
    // SAFETY: the pointer is to a live map value, of which the lower half is the number.
    let number = unsafe { value.read_volatile() } as u32;
    Some((number != 0).then_some(number))
}

/// [`gate::walk`] and, below, [`gate::evaluate_rule`] as functions with external linkage: the verifier
/// checks such a function once, on its own, and takes any answer from it (kernel 5.6,
/// <https://docs.kernel.org/bpf/verifier.html>). Inlined, the loop over the matching rules would
/// be walked once for each way in which headers can be stacked, and each of its 64 rounds with
/// every outcome of the rules before. They take numbers only, as 5.10 knows no other arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_walk(matching: u64, now: u64, flow: u64, flags: u32) -> u64 {
    gate::walk(&Maps, matching, &context(now, flow, flags)).0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_ask(bit: u32, now: u64, flow: u64, flags: u32) -> u64 {
    gate::evaluate_rule(&Maps, bit, &context(now, flow, flags)).0
}

#[inline(always)]
fn flags(context: &Context) -> u32 {
    let Context { first_rule, leased, fragment, .. } = *context;
    leased | fragment << 1 | first_rule << 2
}

#[inline(always)]
fn context(now: u64, flow: u64, flags: u32) -> Context {
    Context { now, flow, first_rule: flags >> 2, leased: flags & 1, fragment: flags >> 1 & 1 }
}
