//! How far a frame has come that was at an interface before: a copy of ours, say, has the stages
//! up to the copying behind it and goes on with the next.
//!
//! The stamp is in the frame's control block, the part of it that `__sk_buff::cb` shows, which
//! programs at the same interface leave each other notes in. It stays with the frame through
//! `bpf_clone_redirect` and `bpf_redirect`, to either side of an interface, where `mark` would be
//! seen by routing rules and by filters of others.
//! <https://github.com/torvalds/linux/blob/v6.12/include/net/sch_generic.h> `struct qdisc_skb_cb`

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{event::EventKind, rule::STAGES};

use crate::scope::target;

/// What a stamp begins with: `chaos-ag`.
const MAGIC: [u32; 2] = [u32::from_be_bytes(*b"chao"), u32::from_be_bytes(*b"s-ag")];

/// What is in the control block at the place of the stamp.
#[derive(Clone, Copy)]
pub struct Notes([u32; 4]);

impl Notes {
    #[inline(always)]
    fn read(skb: *mut __sk_buff) -> Self {
        // SAFETY: reading the program's context.
        unsafe {
            Self([
                (&raw const (*skb).cb[0]).read_volatile(),
                (&raw const (*skb).cb[1]).read_volatile(),
                (&raw const (*skb).cb[2]).read_volatile(),
                (&raw const (*skb).cb[3]).read_volatile(),
            ])
        }
    }

    /// Puts back what was there. Word by word: the verifier takes accesses of the context at
    /// constant offsets only, and compilers make one access of several.
    #[inline(always)]
    pub fn write(self, skb: *mut __sk_buff) {
        // SAFETY: writing the part of the program's context that is there to be written.
        unsafe {
            (&raw mut (*skb).cb[0]).write_volatile(self.0[0]);
            (&raw mut (*skb).cb[1]).write_volatile(self.0[1]);
            (&raw mut (*skb).cb[2]).write_volatile(self.0[2]);
            (&raw mut (*skb).cb[3]).write_volatile(self.0[3]);
        }
    }
}

/// Says that the frame has so many stages of this direction behind it; what was there before.
#[inline(always)]
pub fn put(skb: *mut __sk_buff, kind: EventKind, stages: u32) -> Notes {
    let before = Notes::read(skb);
    Notes([MAGIC[0], MAGIC[1], target() as u32, (kind as u32) << 8 | stages]).write(skb);
    before
}

/// How many stages the frame has behind it, 0 for one that is new here. The stamp of this target
/// comes off, so that nobody on the frame's further way takes it for theirs. A frame with another
/// stamp has nothing before it: it was asked about when it was new, or will be.
#[inline(always)]
pub fn lift(skb: *mut __sk_buff, kind: EventKind) -> u32 {
    let Notes([first, second, owner, stages]) = Notes::read(skb);
    if first != MAGIC[0] || second != MAGIC[1] {
        return 0;
    }
    if owner != target() as u32 || stages >> 8 != kind as u32 {
        return STAGES as u32;
    }
    Notes([0; 4]).write(skb);
    stages & 0xff
}
