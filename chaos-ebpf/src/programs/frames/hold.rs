//! The stages that hold a frame back: rate, delay, reordering. They add up to one moment, and the
//! frame goes into the delay line until then.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ops::RangeInclusive,
};

use aya_ebpf::{
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    helpers::generated::{bpf_redirect, bpf_skb_change_head, bpf_skb_store_bytes},
};
use chaos_ebpf_common::{
    event::EventKind,
    flows,
    gate::{Answer, Ground, consult},
    line::{LOOPBACK, Label, OVERLAY_BYTES},
    rule::{RuleSet, Stage},
};

use super::{Outcome, SPARED, UNKNOWN, chaos_flow, chaos_settle};
use crate::{
    ground::Maps,
    maps::{GIVEN, HOLDS, READER, TABLES},
};

/// Longer frames that are not segmented later cannot be given a label (`BPF_SKB_MAX_LEN`).
const LONGEST: u32 = 15 * 1024;

/// The stages that hold.
const STAGES: RangeInclusive<usize> = Stage::Limit as usize..=Stage::Reorder as usize;

/// What a stage says, in one register.
#[derive(Clone, Copy)]
struct Wait(u64);

impl Wait {
    const NONE: Self = Self(0);
    /// Nobody waits so long: [`chaos_ebpf_common::hold::LONGEST_HOLD`] has 36 bits.
    const OVERFLOW: Self = Self(u64::MAX);

    const NANOSECONDS: u64 = (1 << 40) - 1;

    #[inline(always)]
    fn of(nanoseconds: u64, slot: u32) -> Self {
        Self(nanoseconds | (slot as u64) << 40 | 1 << 60)
    }

    #[inline(always)]
    fn nanoseconds(self) -> u64 {
        self.0 & Self::NANOSECONDS
    }

    /// Ledger slot of the rule that says so.
    #[inline(always)]
    fn slot(self) -> u8 {
        (self.0 >> 40) as u8
    }

    /// An [`Outcome`], or [`SPARED`].
    #[inline(always)]
    fn outcome(self) -> u32 {
        match self {
            Self(0) => SPARED,
            Self(u64::MAX) => Outcome::Overflow as u32,
            _ => Outcome::Changed as u32,
        }
    }
}

/// Asks those of these rules that hold, stage by stage, and holds the frame for as long as they say
/// together. Returns what the program has to.
#[inline(always)]
pub fn hold(skb: *mut __sk_buff, kind: EventKind, set: &RuleSet, rules: u64) -> i32 {
    let mut all = Wait::NONE;
    // One moment for all: frames leave in the order in which a rate has given them their turns, however
    // long the processor was away in between.
    let now = Maps.now();
    for stage in STAGES {
        let asked = rules & set.by_stage[stage];
        if asked != 0 {
            let one = Wait(chaos_hold(skb, kind as u32, set.id, asked, now));
            if one.outcome() == Outcome::Overflow as u32 {
                return TCX_DROP;
            }
            if one.outcome() != SPARED {
                all = Wait(one.0 + all.nanoseconds());
            }
        }
    }
    if all.nanoseconds() == 0 { TCX_NEXT } else { chaos_send(skb, kind as u32, all.0, now) }
}

/// Asks these rules, all of one stage: a [`Wait`]. It is beside `chaos_stage`, with as little on its
/// stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_hold(skb: *mut __sk_buff, kind: u32, set: u32, rules: u64, now: u64) -> u64 {
    let Some(set) = Maps.set(set) else {
        return Wait::NONE.0;
    };
    let flow = match rules & set.by_flow {
        0 => None,
        _ => Some(chaos_flow(skb, kind)).filter(|flow| *flow != UNKNOWN),
    };
    let answer = consult(&Maps, set, rules, flow, now);
    if answer == Answer::SPARED {
        return Wait::NONE.0;
    }
    let wait = Wait(chaos_wait(skb, kind, answer.0, flow.unwrap_or(UNKNOWN), now));
    chaos_settle(skb, kind, answer.0, wait.outcome());
    wait.0
}

/// How long the frame waits by this answer: a [`Wait`], of nothing where no rule hit or where it
/// cannot be held. All whose `flow` is [`UNKNOWN`] are one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_wait(skb: *mut __sk_buff, kind: u32, answer: u64, flow: u64, now: u64) -> u64 {
    let Some(verdict) = Answer(answer).hit(now) else {
        return Wait::NONE.0;
    };
    let Some(hold) = HOLDS.get(verdict.slot) else {
        return Wait::NONE.0;
    };
    match room(skb, now) {
        Room::Free => {}
        Room::Full => return Wait::OVERFLOW.0,
        Room::Nowhere => return Wait::NONE.0,
    }
    let ingress = kind == EventKind::FrameIngress as u32;
    if hold.rate == 0 {
        // The gate hands on 26 bits.
        let mut entropy = verdict.entropy << 38;
        if hold.correlated != 0 {
            entropy = Maps.go_on(verdict.slot, ingress, entropy).unwrap_or(entropy);
        }
        let held = match hold.table {
            0 => hold.duration(entropy),
            table => match TABLES.get(table - 1) {
                Some(table) => table.pick(entropy),
                None => return Wait::NONE.0,
            },
        };
        return Wait::of(held, verdict.slot).0;
    }
    // SAFETY: reading the program's context.
    let (length, on_wire) = unsafe { ((*skb).len, (*skb).wire_len) };
    // With the headers of all of its segments, where the kernel has counted them.
    let bytes = if on_wire > length { on_wire } else { length };
    let transmission = hold.transmission(bytes);
    let held = if hold.per_flow == 0 {
        Maps.depart(verdict.slot, ingress, transmission, now)
    } else {
        let key = flows::key(flow, verdict.slot, hold.generation, ingress);
        Maps.depart_in_flow(key, transmission, now)
    };
    // A number in any case: what compilers let stand where there is none may be a pointer, with which
    // the verifier does not let them go on.
    match held.unwrap_or(u64::MAX) {
        u64::MAX => Wait::OVERFLOW.0,
        held => Wait::of(held, verdict.slot).0,
    }
}

enum Room {
    Free,
    Full,
    /// The frame cannot be held, or nobody holds it.
    Nowhere,
}

/// Whether the line takes the frame.
#[inline(always)]
fn room(skb: *mut __sk_buff, now: u64) -> Room {
    let (Some(reader), Some(given)) = (READER.get(0), GIVEN.get(0)) else {
        return Room::Nowhere;
    };
    // SAFETY: reading the program's context.
    let (interface, tagged, length, segment) =
        unsafe { ((*skb).ifindex, (*skb).vlan_present, (*skb).len, (*skb).gso_size) };
    // A tag that is not in the data would come into the label.
    let fits = interface == LOOPBACK || tagged == 0 && (length <= LONGEST || segment != 0);
    if !fits || !reader.answers(now) {
        Room::Nowhere
    } else if reader.has_room(*given) {
        Room::Free
    } else {
        Room::Full
    }
}

/// Sends the frame into the line. Without memory for the label (and only then) it goes on unheld.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_send(skb: *mut __sk_buff, kind: u32, wait: u64, now: u64) -> i32 {
    let (Some(reader), false) = (READER.get(0), skb.is_null()) else {
        return TCX_NEXT;
    };
    // SAFETY: reading the program's context.
    let interface = unsafe { (*skb).ifindex };
    let ingress = (kind == EventKind::FrameIngress as u32) as u8;
    let (due, slot) = (now + Wait(wait).nanoseconds(), Wait(wait).slot());
    let is_loopback = interface == LOOPBACK;
    let magic = if is_loopback { Label::OVERLAY } else { Label::MAGIC };
    let label = Label { due, magic, slot, ingress, interface }.to_bytes();
    // SAFETY: the helpers take the program's context, numbers, and as many bytes as they are told;
    // GIVEN has one element.
    unsafe {
        let bytes = if is_loopback { OVERLAY_BYTES } else { Label::BYTES };
        if !is_loopback && bpf_skb_change_head(skb, Label::BYTES as u32, 0) != 0 {
            return TCX_NEXT;
        }
        if bpf_skb_store_bytes(skb.cast(), 0, label.as_ptr().cast(), bytes as u32, 0) != 0 {
            return if is_loopback { TCX_NEXT } else { TCX_DROP };
        }
        if let Some(given) = GIVEN.get_ptr_mut(0) {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(given, 1);
        }
        bpf_redirect(reader.device, 0) as i32
    }
}
