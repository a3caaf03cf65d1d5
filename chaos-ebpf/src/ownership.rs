//! Tells whose packet or call it is, for hooks that see a whole network namespace or the whole machine.
//!
//! Cgroup hooks need none of this: the kernel runs them for the sockets of targets only, and tells which one.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};
use chaos_ebpf_common::{MOST_DEPTHS, gate::lowest_bit, tables::FrameOwner};

use crate::{
    env::Maps,
    maps::{CALLERS, FRAME_OWNERS, TARGETS},
};

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

/// The targets that the current task belongs to, the outermost first: the first rule sets of those that have
/// something in force. A kernel thread belongs to none: they live in the root cgroup, which is no target.
pub struct Owners {
    depths: u64,
}

impl Owners {
    #[inline(always)]
    pub fn of_current() -> Self {
        Self { depths: CALLERS.get(0).map_or(0, |callers| callers.depths) }
    }

    /// Whether there is one.
    #[inline(always)]
    pub fn any() -> bool {
        Self::of_current().next().is_some()
    }

    /// The next one's first rule set.
    #[inline(always)]
    pub fn next(&mut self) -> Option<u32> {
        for _ in 0..MOST_DEPTHS {
            if self.depths == 0 {
                break;
            }
            let level = lowest_bit(self.depths);
            self.depths &= self.depths - 1;
            // SAFETY: the helper reads the current task (kernel 5.7 for tracing programs); the value is a number,
            // written whole.
            let target = unsafe {
                let cgroup = bpf_get_current_ancestor_cgroup_id(level as i32);
                TARGETS.get(&cgroup).copied()
            };
            if let Some(target) = target {
                return Some(Maps.first_of(target));
            }
        }
        None
    }
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
