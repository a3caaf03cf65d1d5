//! Which way a frame goes: out of its interface, or up from it.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS},
    helpers::generated::{bpf_clone_redirect, bpf_redirect},
};
use chaos_ebpf_common::{LOOPBACK, event::EventKind, rule::STAGES};

use super::Outcome;
use crate::stamp;

#[inline(always)]
fn interface(skb: *mut __sk_buff) -> u32 {
    // SAFETY: reading the program's context.
    unsafe { (*skb).ifindex }
}

/// Sends a copy of the frame, as it is now, this way. It comes by here again, right now on its way
/// out and a moment later on its way up, with so many stages behind it. `false` where the kernel has
/// no memory or no room for it.
///
/// On its way up it would lose its route (`skb_scrub_packet`), without which nobody may have come
/// from 127.0.0.1. On `lo` it is sent out instead, which keeps it and leads to the same place.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_clone_redirect`
#[inline(always)]
pub fn send_copy(skb: *mut __sk_buff, kind: EventKind, stages: u32) -> bool {
    let interface = interface(skb);
    let goes_out = kind == EventKind::FrameEgress || interface == LOOPBACK;
    let notes = stamp::put(skb, kind, stages);
    let flags = if goes_out { 0 } else { BPF_F_INGRESS };
    // SAFETY: the pointer is the program's context.
    let failed = unsafe { bpf_clone_redirect(skb, interface, flags as u64) };
    notes.write(skb);
    failed == 0
}

/// Sends a copy of the frame to where the frame came from. No stage asks about it.
#[inline(always)]
pub fn send_back(skb: *mut __sk_buff, kind: EventKind) -> bool {
    // What is sent back on `lo` arrives there in the end, whichever way the frame was going.
    let up = kind == EventKind::FrameEgress || interface(skb) == LOOPBACK;
    send_copy(skb, if up { EventKind::FrameIngress } else { EventKind::FrameEgress }, STAGES as u32)
}

/// Sends the frame itself, which was going out, to where it came from, and its sender hears of
/// success. No stage asks about it. The program has to return `TCX_REDIRECT`.
#[inline(always)]
pub fn redirect_back(skb: *mut __sk_buff) -> Outcome {
    let interface = interface(skb);
    let flags = if interface == LOOPBACK { 0 } else { BPF_F_INGRESS };
    stamp::put(skb, EventKind::FrameIngress, STAGES as u32);
    // SAFETY: the helper notes two numbers.
    unsafe { bpf_redirect(interface, flags as u64) };
    Outcome::Redirected
}

/// Lets no stage ask about the frame where it arrives, if that is here.
#[inline(always)]
pub fn spare_arrival(skb: *mut __sk_buff, kind: EventKind) {
    if kind == EventKind::FrameEgress && interface(skb) == LOOPBACK {
        stamp::put(skb, EventKind::FrameIngress, STAGES as u32);
    }
}
