//! Whose packet is it, and whose call? For hooks that see a whole network namespace or the whole
//! machine.
//!
//! Cgroup hooks need none of this: the kernel runs them for the target's sockets only.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};

#[unsafe(no_mangle)]
static TARGET_CGROUP: Global<u64> = Global::new(0);

/// The depth of that directory below the root of the hierarchy.
#[unsafe(no_mangle)]
static TARGET_LEVEL: Global<u32> = Global::new(0);

/// Inode number of the target's cgroup directory.
#[inline(always)]
pub fn target() -> u64 {
    TARGET_CGROUP.load()
}

/// How deep below the root of the hierarchy that directory is.
#[inline(always)]
pub fn target_level() -> u32 {
    TARGET_LEVEL.load()
}

/// Whether the current task is in the target's cgroup or below it. A kernel thread never is: they
/// live in the root cgroup, which is no target.
#[inline(always)]
pub fn owns_current() -> bool {
    // SAFETY: the helper reads the current task (kernel 5.7 for tracing programs).
    let owner = unsafe { bpf_get_current_ancestor_cgroup_id(target_level() as i32) };
    owner == target()
}

/// Whether a packet that leaves was sent by a socket of the target. What the kernel itself sends
/// (a RST without a socket, forwarded packets) is nobody's.
#[inline(always)]
pub fn owns_egress(skb: *mut __sk_buff) -> bool {
    // SAFETY: the pointer is the program's context; kernel 4.19.
    let owner = unsafe { bpf_skb_ancestor_cgroup_id(skb, target_level() as i32) };
    owner == target()
}
