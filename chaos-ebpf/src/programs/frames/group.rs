//! Asks those of the targets in a network namespace about a frame that it belongs to.
//!
//! A target in another one shares its frames. Each is asked as by a program of its own, one after the other, the outermost
//! first: a frame that one drops or redirects does not reach the next. A stamp says how far a frame has come. Whoever has
//! put it there goes on, and then those further in, as those further out were asked before.

use aya_ebpf::bindings::{__sk_buff, tcx_action_base::TCX_NEXT};
use chaos_ebpf_common::{MOST_DEPTHS, event::EventKind, gate::lowest_bit, tables::FrameGroup};

use super::{Owner, Receiver, ask_target, headers::Place};
use crate::{
    maps::{FRAME_GROUPS, FRAME_OWNERS},
    ownership::{NOBODY, frame_target, member, sender},
    stamp,
};

/// Asks the targets of the group for which the program runs. Returns what the program has to.
///
/// Where there is one target only, its rules are asked before it is looked whose the frame is, where that is dearer.
#[inline(always)]
pub fn ask(skb: *mut __sk_buff, kind: EventKind) -> i32 {
    let number = frame_target(skb);
    let Some(group) = FRAME_GROUPS.get(number) else { return TCX_NEXT };
    // SAFETY: the pointer is to a live map value, a number that is written whole.
    let only = unsafe { (&raw const group.only).read_volatile() };
    if only != FrameGroup::SEVERAL {
        return ask_target(skb, kind, only, Owner::UNKNOWN);
    }
    // SAFETY: as above.
    let depths = unsafe { (&raw const group.depths).read_volatile() };
    match stamp::put_by(skb) {
        Some(target) => go_on(skb, kind, number, depths, target),
        None => ask_owners(skb, kind, number, depths),
    }
}

/// Goes on with a frame that this target has stamped.
#[inline(always)]
fn go_on(skb: *mut __sk_buff, kind: EventKind, group: u32, depths: u64, target: u32) -> i32 {
    let Some(owner) = FRAME_OWNERS.get(target) else { return TCX_NEXT };
    let level = owner.level & (u64::BITS - 1);
    if member(owner.cgroup, group) != target {
        return TCX_NEXT;
    }
    let verdict = ask_target(skb, kind, target, Owner::UNKNOWN);
    if verdict != TCX_NEXT {
        return verdict;
    }
    // Not shifted by 64.
    ask_owners(skb, kind, group, depths & (u64::MAX << level << 1))
}

/// Asks the targets at these depths that the frame belongs to.
#[inline(always)]
fn ask_owners(skb: *mut __sk_buff, kind: EventKind, group: u32, depths: u64) -> i32 {
    let mut depths = depths;
    let mut receiver = Receiver::NONE;
    if kind == EventKind::FrameIngress && depths != 0 {
        // Once for all of them.
        receiver = Receiver::of(skb, Place::of(skb, kind as u32));
        if receiver == Receiver::NONE {
            return TCX_NEXT;
        }
    }
    for _ in 0..MOST_DEPTHS {
        if depths == 0 {
            break;
        }
        let level = lowest_bit(depths);
        depths &= depths - 1;
        let (cgroup, owner) = if kind == EventKind::FrameIngress {
            (receiver.ancestor(level), Owner(receiver.0))
        } else {
            (sender(skb, level), Owner::SENDER)
        };
        if cgroup == 0 {
            break;
        }
        let target = member(cgroup, group);
        if target == NOBODY {
            continue;
        }
        let verdict = ask_target(skb, kind, target, owner);
        if verdict != TCX_NEXT {
            return verdict;
        }
    }
    TCX_NEXT
}
