//! The line whose frames a queue of the kernel holds: fq, at the far end of a veth.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_redirect, bpf_set_hash,
        bpf_set_hash_invalid,
    },
    macros::classifier,
    programs::TcContext,
};
use chaos_ebpf_common::{
    gate::Env,
    line::{LONGEST_ROUND, cost, flow_of_departure},
};

use super::send_on;
use crate::{
    env::Maps,
    maps::{READER, RETURNED},
    ownership::frame_target,
    ticket,
};

/// `sch_handle_ingress` of the far end, when a frame has come through the veth: it goes back the way it
/// came. As a copy, since a copy belongs to no socket: the frame itself would count against what its
/// socket may have on its way (TCP small queues) for as long as it is held, and it is fq's business
/// only then to tell its frames apart. What has no ticket is not ours.
#[classifier]
pub fn queue_enter(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    if ticket::read(skb).is_none() {
        return TCX_DROP;
    }
    // SAFETY: reading the program's context; the helpers take it and numbers.
    unsafe {
        let interface = (*skb).ifindex;
        if bpf_clone_redirect(skb, interface, 0) == 0 {
            return TCX_DROP;
        }
        // Without memory for a copy.
        bpf_redirect(interface, 0) as i32
    }
}

/// `sch_handle_egress` of the far end, in `__dev_queue_xmit` before fq, which lets the frame wait for
/// the moment (CLOCK_MONOTONIC, ns) that is in `skb->tstamp`.
/// <https://github.com/torvalds/linux/blob/v6.12/net/sched/sch_fq.c> `fq_enqueue`
#[classifier]
pub fn queue_leave(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let Some(ticket) = ticket::read(skb) else {
        return TCX_DROP;
    };
    // SAFETY: the helpers take the program's context and numbers; the field may be written.
    unsafe {
        let now = bpf_ktime_get_ns();
        let leaves = now + ticket.left(now).min(LONGEST_ROUND);
        bpf_set_hash(skb, flow_of_departure(leaves));
        // Of the queues, the one of this processor (`skb_record_rx_queue`, `skb_tx_hash`).
        (&raw mut (*skb).queue_mapping).write_volatile(bpf_get_smp_processor_id() + 1);
        (&raw mut (*skb).tstamp).write_volatile(leaves);
    }
    TCX_NEXT
}

/// `sch_handle_ingress` of the near end, in the target's network namespace, when a frame comes out of the
/// queue: it goes on if it is due, or if nothing is held any more.
#[classifier]
pub fn queue_return(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let Some(ticket) = ticket::read(skb) else {
        return TCX_DROP;
    };
    // SAFETY: the program's context, of which these fields may be read and written, numbers, and a map's
    // element, which is a u64 that is only ever added to.
    unsafe {
        if ticket.left(bpf_ktime_get_ns()) > 0 && is_in_force(skb) {
            return bpf_redirect((*skb).ifindex, 0) as i32;
        }
        ticket::take(skb);
        if is_of_line(skb)
            && let Some(returned) = RETURNED.get_ptr_mut(frame_target(skb))
        {
            let cost = cost((*skb).len);
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(returned, cost);
        }
        // Both were for fq.
        (&raw mut (*skb).tstamp).write_volatile(0);
        bpf_set_hash_invalid(skb);
    }
    send_on(skb, ticket.interface(), ticket.ingress())
}

/// Whether the agent holds frames: it runs, and has not ended the line.
#[inline(always)]
fn is_in_force(skb: *mut __sk_buff) -> bool {
    is_of_line(skb) && Maps.now() < Maps.lease()
}

/// Whether the device is that of the target's line, and not of one that has ended, whose number another target may have.
#[inline(always)]
fn is_of_line(skb: *mut __sk_buff) -> bool {
    // SAFETY: reading the program's context.
    let device = unsafe { (*skb).ifindex };
    READER.get(frame_target(skb)).is_some_and(|line| line.device == device)
}
