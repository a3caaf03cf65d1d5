//! Tells whose packet it is, for hooks that see a whole network namespace.
//!
//! Cgroup hooks need none of this: the kernel runs them for the sockets of targets only, and tells which one.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id};
use chaos_ebpf_common::tables::FrameOwner;

use crate::maps::FRAME_OWNERS;

/// The number of the target for which a program at an interface runs.
///
/// One program serves all targets: at the interface stands a program of a few instructions for each of them, which
/// notes the number and jumps here (`bpf_tail_call`). It notes it where classifiers may leave a class for the queueing
/// discipline; nobody reads that of a frame on which a filter has not decided.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/sch_generic.h> `struct qdisc_skb_cb`
#[inline(always)]
pub fn frame_target(skb: *mut __sk_buff) -> u32 {
    // SAFETY: reading the program's context.
    unsafe { (&raw const (*skb).tc_classid).read_volatile() }
}

/// Whose frames that target's are.
#[inline(always)]
pub fn frame_owner(skb: *mut __sk_buff) -> Option<&'static FrameOwner> {
    FRAME_OWNERS.get(frame_target(skb))
}

/// Whether a packet that leaves was sent by a socket of the target. What the kernel itself sends
/// (a RST without a socket, forwarded packets) is nobody's.
#[inline(always)]
pub fn owns_egress(skb: *mut __sk_buff) -> bool {
    let Some(owner) = frame_owner(skb) else { return false };
    // SAFETY: the pointer is the program's context; kernel 4.19. 0 stands for a packet without a socket.
    let cgroup = unsafe { bpf_skb_ancestor_cgroup_id(skb, owner.level as i32) };
    cgroup != 0 && cgroup == owner.cgroup
}
