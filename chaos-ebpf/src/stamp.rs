//! How far a frame has come that was at an interface before: a copy of ours, say, has the stages
//! up to the copying behind it and goes on with the next. What the words say, and to whom, is
//! decided in [`chaos_ebpf_common::stamp`].
//!
//! The stamp is in the frame's control block, the part of it that `__sk_buff::cb` shows, which
//! programs at the same interface leave each other notes in. It stays with the frame through
//! `bpf_clone_redirect` and `bpf_redirect`, to either side of an interface, where `mark` would be
//! seen by routing rules and by filters of others.
//! <https://github.com/torvalds/linux/blob/v6.12/include/net/sch_generic.h> `struct qdisc_skb_cb`

use aya_ebpf::{Global, bindings::__sk_buff};
use chaos_ebpf_common::{event::EventKind, stamp};

use crate::ownership::frame_target;

/// A random number that tells the targets of this object from those of all others.
#[unsafe(no_mangle)]
static INSTANCE: Global<u32> = Global::new(0);

/// What stands in the stamps of the target for which the program runs.
#[inline(always)]
fn instance(skb: *mut __sk_buff) -> u32 {
    stamp::instance(INSTANCE.load(), frame_target(skb))
}

/// The number of the target that has put a stamp on the frame, if it has one; [`stamp::put_by`].
#[inline(always)]
pub fn put_by(skb: *mut __sk_buff) -> Option<u32> {
    stamp::put_by(Notes::read(skb).0, INSTANCE.load())
}

/// What is in the control block at the place of the stamp.
#[derive(Clone, Copy)]
pub struct Notes([u32; stamp::WORDS]);

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
    Notes(stamp::next(before.0, instance(skb), kind, stages)).write(skb);
    before
}

/// How many stages the frame has behind it, 0 for one that is new here. The stamp of this target
/// comes off.
#[inline(always)]
pub fn lift(skb: *mut __sk_buff, kind: EventKind) -> u32 {
    let stamp::Met { behind, lifted } = stamp::meet(Notes::read(skb).0, instance(skb), kind);
    if let Some(words) = lifted {
        Notes(words).write(skb);
    }
    behind
}
