//! Tells to which targets the current task belongs, for programs that see the calls of the whole machine.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use chaos_ebpf_common::{MOST_DEPTHS, gate::lowest_bit};

use crate::{
    env::Maps,
    maps::{CALLERS, TARGETS},
};

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
