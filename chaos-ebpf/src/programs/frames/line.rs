//! Into the delay line.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    helpers::generated::{
        bpf_ktime_get_ns, bpf_redirect, bpf_skb_change_head, bpf_skb_store_bytes,
    },
};
use chaos_ebpf_common::{
    LOOPBACK,
    line::{FqTag, OVERLAY_BYTES, Reader, TapHeader, cost, cost_to_reader},
};

use crate::{
    maps::{BEAT, GIVEN, READER, RETURNED},
    ownership::frame_target,
    ticket,
};

/// Longer frames that are not segmented later cannot be given a header (`BPF_SKB_MAX_LEN`).
const LONGEST: u32 = 15 * 1024;

pub enum Room {
    Free,
    Full,
    /// The frame cannot be held, or nobody holds it.
    Nowhere,
}

/// Whether the line takes the frame.
#[inline(always)]
pub fn room(skb: *mut __sk_buff, now: u64) -> Room {
    let target = frame_target(skb);
    let (Some(line), Some(beat), Some(given), Some(returned)) =
        (READER.get(target), BEAT.get(0), GIVEN.get(target), RETURNED.get(target))
    else {
        return Room::Nowhere;
    };
    // SAFETY: reading the program's context.
    let (interface, tagged, length, segment) =
        unsafe { ((*skb).ifindex, (*skb).vlan_present, (*skb).len, (*skb).gso_size) };
    let fits = if line.queue != 0 {
        FqTag::new(0, interface, false).is_some()
    } else {
        // A tag that is not in the data would come into the header.
        interface == LOOPBACK || tagged == 0 && (length <= LONGEST || segment != 0)
    };
    if !fits || !line.answers(now, *beat) {
        Room::Nowhere
    } else if line.has_room(*given, *returned) {
        Room::Free
    } else {
        Room::Full
    }
}

/// How a frame is held.
pub struct Held {
    /// The boot-clock moment (ns) from which on.
    pub from: u64,
    /// For so long, at most [`LONGEST_HOLD`](chaos_ebpf_common::hold::LONGEST_HOLD).
    pub nanoseconds: u64,
    /// Ledger slot of the rule that holds it.
    pub slot: u32,
}

/// Sends the frame into the line. Returns what the program has to.
#[inline(always)]
pub fn send(skb: *mut __sk_buff, ingress: bool, held: Held) -> i32 {
    let Some(line) = READER.get(frame_target(skb)) else {
        return TCX_NEXT;
    };
    if line.queue != 0 {
        to_queue(skb, line, ingress, held)
    } else {
        to_reader(skb, line, ingress, held)
    }
}

#[inline(always)]
fn to_queue(skb: *mut __sk_buff, line: &Reader, ingress: bool, held: Held) -> i32 {
    // SAFETY: reading the program's context, and a clock.
    let (interface, length, now) = unsafe { ((*skb).ifindex, (*skb).len, bpf_ktime_get_ns()) };
    let due = line.due(held.from, now, held.nanoseconds);
    let Some(ticket) = FqTag::new(due, interface, ingress) else {
        return TCX_NEXT;
    };
    ticket::put(skb, ticket);
    count_given(skb, cost(length));
    // SAFETY: the helper notes two numbers.
    unsafe { bpf_redirect(line.device, 0) as i32 }
}

/// Without memory for the header (and only then) the frame goes on unheld.
#[inline(always)]
fn to_reader(skb: *mut __sk_buff, line: &Reader, ingress: bool, held: Held) -> i32 {
    // SAFETY: reading the program's context.
    let (interface, length) = unsafe { ((*skb).ifindex, (*skb).len) };
    let is_loopback = interface == LOOPBACK;
    let key = TapHeader::key(line.key) | if is_loopback { TapHeader::OVERLAY } else { 0 };
    let due = held.from + held.nanoseconds;
    let header = TapHeader::new(due, held.slot, ingress, key, interface).to_bytes();
    // SAFETY: the helpers take the program's context, numbers, and as many bytes as they are told.
    unsafe {
        let bytes = if is_loopback { OVERLAY_BYTES } else { TapHeader::BYTES };
        if !is_loopback && bpf_skb_change_head(skb, TapHeader::BYTES as u32, 0) != 0 {
            return TCX_NEXT;
        }
        if bpf_skb_store_bytes(skb.cast(), 0, header.as_ptr().cast(), bytes as u32, 0) != 0 {
            return if is_loopback { TCX_NEXT } else { TCX_DROP };
        }
        ticket::mark(skb, line.key);
        count_given(skb, cost_to_reader(length));
        bpf_redirect(line.device, 0) as i32
    }
}

/// Counts the bytes that are given to the line.
#[inline(always)]
fn count_given(skb: *mut __sk_buff, more: u64) {
    if let Some(given) = GIVEN.get_ptr_mut(frame_target(skb)) {
        // SAFETY: the element is a u64 that is only ever added to.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(given, more) };
    }
}
