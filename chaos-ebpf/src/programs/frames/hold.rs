//! The stages that hold a frame back: rate, delay, reordering. They add up to one moment, and the
//! frame goes into the delay line until then.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    helpers::generated::{bpf_redirect, bpf_skb_change_head, bpf_skb_store_bytes},
};
use chaos_ebpf_common::{
    event::EventKind,
    gate::{Answer, Ground, consult},
    line::Label,
    rule::{RuleSet, Stage},
};

use super::{Outcome, SPARED, UNKNOWN, chaos_flow, chaos_settle};
use crate::{
    ground::Maps,
    maps::{GIVEN, HOLDS, READER},
};

/// `LOOPBACK_IFINDEX`: what arrives there without the route that it was sent by is refused by the
/// stack (`ip_route_input_slow`), and a frame loses its route in the line.
const LOOPBACK: u32 = 1;

/// Longer frames that are not segmented later cannot be given a label (`BPF_SKB_MAX_LEN`).
const LONGEST: u32 = 15 * 1024;

/// The rules of a set that hold frames.
#[inline(always)]
pub fn rules_of(set: &RuleSet) -> u64 {
    set.by_stage[Stage::Limit as usize]
        | set.by_stage[Stage::Delay as usize]
        | set.by_stage[Stage::Reorder as usize]
}

/// Asks the rules of the three stages and holds the frame for as long as they say together. Returns
/// what the program has to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn chaos_hold(skb: *mut __sk_buff, kind: u32, set: u32, rules: u64) -> i32 {
    let Some(set) = Maps.set(set) else {
        return TCX_NEXT;
    };
    let flow = match rules & set.by_flow {
        0 => None,
        _ => Some(chaos_flow(skb, kind)).filter(|flow| *flow != UNKNOWN),
    };
    let now = Maps.now();
    let delay = ask(set, rules, Stage::Delay, flow, now);
    let reorder = ask(set, rules, Stage::Reorder, flow, now);
    let (held, last) = match (delay.hit(now), reorder.hit(now)) {
        (None, None) => (0, None),
        (Some(one), None) | (None, Some(one)) => (duration(one.slot, one.entropy), Some(one.slot)),
        (Some(one), Some(other)) => (
            duration(one.slot, one.entropy) + duration(other.slot, other.entropy),
            Some(other.slot),
        ),
    };
    let outcome = match last {
        None => SPARED,
        Some(_) if held == 0 => Outcome::Changed as u32,
        Some(_) => room(skb, now),
    };
    if delay != Answer::SPARED {
        chaos_settle(skb, kind, delay.0, outcome);
    }
    if reorder != Answer::SPARED {
        chaos_settle(skb, kind, reorder.0, outcome);
    }
    match last {
        Some(slot) if outcome == Outcome::Changed as u32 && held != 0 => {
            let ingress = (kind == EventKind::FrameIngress as u32) as u8;
            send(skb, now + held, slot as u8, ingress)
        }
        _ if outcome == Outcome::Overflow as u32 => TCX_DROP,
        _ => TCX_NEXT,
    }
}

#[inline(always)]
fn ask(set: &RuleSet, rules: u64, stage: Stage, flow: Option<u64>, now: u64) -> Answer {
    match rules & set.by_stage[stage as usize] {
        0 => Answer::SPARED,
        asked => consult(&Maps, set, asked, flow, now),
    }
}

#[inline(always)]
fn duration(slot: u32, entropy: u64) -> u64 {
    // The gate hands on 26 bits.
    HOLDS.get(slot).map_or(0, |hold| hold.duration(entropy << 38))
}

/// Whether the line takes the frame: an [`Outcome`], or [`SPARED`].
#[inline(always)]
fn room(skb: *mut __sk_buff, now: u64) -> u32 {
    let (Some(reader), Some(given)) = (READER.get(0), GIVEN.get(0)) else {
        return SPARED;
    };
    // SAFETY: reading the program's context.
    let (interface, tagged, length, segment) =
        unsafe { ((*skb).ifindex, (*skb).vlan_present, (*skb).len, (*skb).gso_size) };
    // A tag that is not in the data would come into the label.
    let fits = interface != LOOPBACK && tagged == 0 && (length <= LONGEST || segment != 0);
    if !fits || !reader.answers(now) {
        SPARED
    } else if reader.has_room(*given) {
        Outcome::Changed as u32
    } else {
        Outcome::Overflow as u32
    }
}

/// Sends the frame into the line. Without memory for the label (and only then) it goes on unheld.
#[inline(always)]
fn send(skb: *mut __sk_buff, due: u64, slot: u8, ingress: u8) -> i32 {
    let Some(reader) = READER.get(0) else {
        return TCX_NEXT;
    };
    // SAFETY: reading the program's context.
    let interface = unsafe { (*skb).ifindex };
    let label = Label { due, interface, slot, ingress, magic: Label::MAGIC }.to_bytes();
    // SAFETY: the helpers take the program's context, numbers, and as many bytes as they are told;
    // GIVEN has one element.
    unsafe {
        if bpf_skb_change_head(skb, Label::BYTES as u32, 0) != 0 {
            return TCX_NEXT;
        }
        if bpf_skb_store_bytes(skb.cast(), 0, label.as_ptr().cast(), Label::BYTES as u32, 0) != 0 {
            return TCX_DROP;
        }
        if let Some(given) = GIVEN.get_ptr_mut(0) {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(given, 1);
        }
        bpf_redirect(reader.device, 0) as i32
    }
}
