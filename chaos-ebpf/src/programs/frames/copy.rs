//! A second time the same.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS},
    programs::TcContext,
};
use chaos_ebpf_common::{event::EventKind, rule::Stage};

use super::Outcome;
use crate::stamp;

/// `LOOPBACK_IFINDEX` of every network namespace.
const LOOPBACK: u32 = 1;

/// Sends a copy where the frame is going: out of the interface, or up from it. It comes by here
/// again, right now on its way out and a moment later on its way in, and goes on with the stages
/// behind this one. `None` where the kernel has no memory or no room for it.
///
/// On its way up it would lose its route (`skb_scrub_packet`), without which nobody may have come
/// from 127.0.0.1. On `lo` it is sent out again instead, which keeps it and leads to the same place.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_clone_redirect`
#[inline(always)]
pub fn duplicate(ctx: &TcContext, skb: *mut __sk_buff, kind: EventKind) -> Option<Outcome> {
    // SAFETY: reading the program's context.
    let interface = unsafe { (*skb).ifindex };
    let goes_out = kind == EventKind::FrameEgress || interface == LOOPBACK;
    let flags = if goes_out { 0 } else { BPF_F_INGRESS };
    let notes = stamp::put(skb, kind, Stage::Copy as u32 + 1);
    let cloned = ctx.clone_redirect(interface, flags as u64);
    notes.write(skb);
    cloned.is_ok().then_some(Outcome::Changed)
}
