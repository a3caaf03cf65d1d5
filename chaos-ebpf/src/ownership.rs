//! Whose packet is it, and whose call? For hooks that see a whole network namespace or the whole
//! machine.
//!
//! Cgroup hooks need none of this: the kernel runs them for the sockets of targets only, and tells which one.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};
use chaos_ebpf_common::{MOST_DEPTHS, gate::lowest_bit};

use crate::{
    env::Maps,
    maps::{CALLERS, TARGETS},
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
    // SAFETY: the pointer is the program's context; kernel 4.19.
    let owner = unsafe { bpf_skb_ancestor_cgroup_id(skb, target_level() as i32) };
    owner == target()
}
