//! What comes out of a delay line.

mod queue;
mod reader;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, tcx_action_base::TCX_DROP},
    helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_skb_change_type},
};
use chaos_ebpf_common::{LOOPBACK, event::EventKind, rule::STAGES};

use crate::stamp;

/// Sends a frame on to where it was going.
///
/// On its way out of an interface it belongs to no socket any more, so no program takes it for the
/// target's; on its way in it is stamped.
#[inline(always)]
fn send_on(skb: *mut __sk_buff, interface: u32, ingress: bool) -> i32 {
    if ingress {
        stamp::put(skb, EventKind::FrameIngress, STAGES as u32);
    }
    if interface == LOOPBACK {
        return to_loopback(skb);
    }
    let flags = if ingress { BPF_F_INGRESS } else { 0 };
    // SAFETY: the helper notes two numbers.
    unsafe { bpf_redirect(interface, flags as u64) as i32 }
}

/// `pkt_type` of a packet for this machine (`include/uapi/linux/if_packet.h`).
const PACKET_HOST: u32 = 0;

/// What arrives at the loopback without the route that it was sent by is refused, and a frame loses its
/// route in the line: it is sent anew, whichever way it was going, and gets another one.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `__bpf_redirect_neigh` (kernel 5.10)
#[inline(always)]
fn to_loopback(skb: *mut __sk_buff) -> i32 {
    // SAFETY: the helpers take the program's context and numbers; no neighbour is given.
    unsafe {
        // At the device it looked like a frame for somebody else.
        if bpf_skb_change_type(skb, PACKET_HOST) != 0 {
            return TCX_DROP;
        }
        bpf_redirect_neigh(LOOPBACK, core::ptr::null_mut(), 0, 0) as i32
    }
}
