//! The line whose frames a reader holds, behind a TAP device.

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    helpers::generated::bpf_skb_vlan_pop,
    macros::classifier,
    programs::TcContext,
};
use chaos_ebpf_common::line::{ReturnTag, place_of};

use super::send_on;
use crate::{
    maps::{PLACES, READER},
    ownership::frame_target,
    ticket,
};

/// `sch_handle_egress` of the TAP device: nothing comes to the reader but what our programs send there.
/// Their mark is in the control block, where nobody can write from user space.
#[classifier]
pub fn line_enter(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast();
    match READER.get(frame_target(skb)) {
        Some(line) if line.key != 0 && ticket::is_marked(skb, line.key) => TCX_NEXT,
        _ => TCX_DROP,
    }
}

/// `sch_handle_ingress` of the TAP device, when its reader has written a frame back. Nothing goes
/// from here into the stack: what has no way on it is not ours.
///
/// The VLAN tag that says where to is no longer in the data (`skb_vlan_untag` comes before).
#[classifier]
pub fn line_return(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: reading the program's context.
    let (is_tagged, tag) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
    if is_tagged == 0 {
        return TCX_DROP;
    }
    let way = ReturnTag::of_tag(tag as u16);
    let Some(interface) = PLACES.get(place_of(frame_target(skb), way.place)) else {
        return TCX_DROP;
    };
    // SAFETY: the helper takes the program's context.
    if unsafe { bpf_skb_vlan_pop(skb) } != 0 {
        return TCX_DROP;
    }
    send_on(skb, *interface, way.ingress)
}
