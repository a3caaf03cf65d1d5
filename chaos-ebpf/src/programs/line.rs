//! What comes out of the delay line.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_F_INGRESS, tcx_action_base::TCX_DROP},
    helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_skb_change_type, bpf_skb_vlan_pop},
    macros::classifier,
    programs::TcContext,
};
use chaos_ebpf_common::{
    event::EventKind,
    line::{LOOPBACK, Way},
    rule::STAGES,
};

use crate::{maps::PLACES, stamp};

/// `sch_handle_ingress` of the TAP device, when its reader has written a frame back. Nothing goes
/// from here into the stack: what has no way on it is not ours.
///
/// The VLAN tag that says where to is no longer in the data (`skb_vlan_untag` comes before). On its way
/// out of an interface the frame belongs to no socket any more, so no program takes it for the
/// target's; on its way in it is stamped.
#[classifier]
pub fn line_return(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: reading the program's context.
    let (is_tagged, tag) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
    if is_tagged == 0 {
        return TCX_DROP;
    }
    let way = Way::of_tag(tag as u16);
    let Some(interface) = PLACES.get(way.place) else {
        return TCX_DROP;
    };
    // SAFETY: the helpers take the program's context and numbers.
    unsafe {
        if bpf_skb_vlan_pop(skb) != 0 {
            return TCX_DROP;
        }
        if way.ingress {
            stamp::put(skb, EventKind::FrameIngress, STAGES as u32);
        }
        if *interface == LOOPBACK {
            return to_loopback(skb);
        }
        if way.ingress {
            bpf_redirect(*interface, BPF_F_INGRESS as u64) as i32
        } else {
            bpf_redirect(*interface, 0) as i32
        }
    }
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
