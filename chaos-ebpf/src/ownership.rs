//! Tells whose packet it is, for hooks that see a whole network namespace.
//!
//! Cgroup hooks need none of this: the kernel runs them for the sockets of targets only, and tells which one.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id};
use chaos_ebpf_common::tables::{FrameMember, FrameOwner};

use crate::maps::{FRAME_MEMBERS, FRAME_OWNERS};

/// The number of the target for which a program at an interface runs; where one begins that asks several, that of their
/// group.
///
/// One program serves all targets: at the interface stands a program of a few instructions for those in its network
/// namespace, and at a delay line for one of them, which notes a number and jumps here (`bpf_tail_call`). It notes it where
/// classifiers may leave a class for the queueing discipline; nobody reads that of a frame on which a filter has not
/// decided.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/sch_generic.h> `struct qdisc_skb_cb`
#[inline(always)]
pub fn frame_target(skb: *mut __sk_buff) -> u32 {
    // SAFETY: reading the program's context.
    unsafe { (&raw const (*skb).tc_classid).read_volatile() }
}

/// Notes for which target the program runs from here on.
#[inline(always)]
pub fn turn_to_target(skb: *mut __sk_buff, target: u32) {
    // SAFETY: writing a part of the program's context that classifiers may write.
    unsafe { (&raw mut (*skb).tc_classid).write_volatile(target) };
}

/// Whose frames that target's are.
#[inline(always)]
pub fn frame_owner(skb: *mut __sk_buff) -> Option<&'static FrameOwner> {
    FRAME_OWNERS.get(frame_target(skb))
}

/// Whether a packet that leaves was sent by a socket of the target.
#[inline(always)]
pub fn owns_egress(skb: *mut __sk_buff) -> bool {
    let Some(owner) = frame_owner(skb) else { return false };
    let cgroup = sender(skb, owner.level);
    cgroup != 0 && cgroup == owner.cgroup
}

/// The id of the cgroup at this depth to which the socket of a packet that leaves belongs; 0 where there is none. What the
/// kernel itself sends (a RST without a socket, forwarded packets) is nobody's.
#[inline(always)]
pub fn sender(skb: *mut __sk_buff, level: u32) -> u64 {
    // SAFETY: the pointer is the program's context; kernel 4.19.
    unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) }
}

/// The number of the target of a group that the cgroup with this id is; [`NOBODY`] if it is none.
#[inline(always)]
pub fn member(cgroup: u64, group: u32) -> u32 {
    chaos_member(cgroup, group)
}

/// The number of no target.
pub const NOBODY: u32 = 0;

/// A function of its own, so that the key is on the stack while it works only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_member(cgroup: u64, group: u32) -> u32 {
    let key = FrameMember { cgroup, group, padding: 0 };
    // SAFETY: the value is a number, written whole.
    unsafe { FRAME_MEMBERS.get(&key) }.copied().unwrap_or(NOBODY)
}
