//! Frames on the interfaces of a network namespace with targets, which go through stages.

mod asked;
mod clone;
mod corrupt;
mod dns;
mod group;
mod headers;
mod hold;
mod layers;
mod length;
mod line;
mod receiver;
mod redirect;
mod reflect;
mod reset;
mod sender;

use core::ptr::NonNull;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff,
        tcx_action_base::{TCX_DROP, TCX_NEXT, TCX_REDIRECT},
    },
    macros::classifier,
    programs::TcContext,
};
use aya_log_ebpf::warn;
use chaos_ebpf_common::{
    MAX_TEXTS,
    event::{EventKind, Family},
    gate::{Decision, Env, confirm, evaluate},
    hash::flow_of,
    ledger::Count,
    packet::{Bytes, Packet, parse},
    rule::{Action, STAGES, Stage},
};
use headers::Place;
use receiver::Receiver;

use crate::{
    bytes::SkbBytes,
    env::Maps,
    maps::ENDED,
    ownership::{frame_target, owns_egress, turn_to_target},
    stamp,
};

/// The link header: the agent attaches to Ethernet and loopback devices only.
const LINK_HEADER: u32 = 14;

/// A frame's bytes from behind the link header on.
type FrameBytes = SkbBytes<LINK_HEADER>;

/// `sch_handle_egress`, in `__dev_queue_xmit` before the qdisc.
#[classifier]
pub fn tcx_egress(ctx: TcContext) -> i32 {
    group::ask(ctx.as_ptr().cast(), EventKind::FrameEgress)
}

/// `sch_handle_ingress`, in `__netif_receive_skb_core` before the stack.
#[classifier]
pub fn tcx_ingress(ctx: TcContext) -> i32 {
    group::ask(ctx.as_ptr().cast(), EventKind::FrameIngress)
}

/// Has a frame go through the stages of one target: what a program for it alone would return. `owner` says what is known
/// of whose it is.
///
/// The rules that match are found once; a stage that has none of them costs a test. At each stage all texts of the target
/// are asked, in their order, and each decides by itself.
///
/// The steps are functions that the verifier checks each once, on their own (kernel 5.6,
/// <https://docs.kernel.org/bpf/verifier.html>): in line they are walked for every way in which
/// headers can be stacked. Each reads the headers again; all but the first only for the frames that
/// a rule speaks of. What they have on their stacks on one way may be 512 bytes together, each rounded up to 32.
#[inline(always)]
fn ask_target(skb: *mut __sk_buff, kind: EventKind, target: u32, owner: Owner) -> i32 {
    turn_to_target(skb, target);
    let texts = chaos_find(skb, kind as u32, owner.0);
    if texts == 0 {
        return TCX_NEXT;
    }
    let verdict = chaos_stages(skb, kind as u32, texts);
    if verdict < HOLDS { verdict } else { hold::hold(skb, kind, (verdict - HOLDS) as u32) }
}

/// What is known of the owner of a frame, in a register: nothing, or that the target owns it. Of one that arrives that is
/// the [`Receiver`].
#[derive(Clone, Copy)]
struct Owner(u64);

impl Owner {
    const UNKNOWN: Self = Self(Receiver::NONE.0);
    /// Of a frame that leaves.
    const SENDER: Self = Self(1);
}

/// How many stages a frame has behind it: all, if it leaves and is not the target's. A function of its own, so that what
/// it keeps on the stack is there while it works only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_lift(skb: *mut __sk_buff, kind: u32, owner: u64) -> u32 {
    let behind = stamp::lift(skb, direction(kind));
    let is_asked_for = kind == EventKind::FrameEgress as u32 && owner == Owner::UNKNOWN.0;
    // A copy of ours belongs to no socket any more.
    if behind == 0 && is_asked_for && !owns_egress(skb) { STAGES as u32 } else { behind }
}

/// What a stage has done to a frame. It is the result of a BPF function, so 0 stands for "nothing".
#[derive(Clone, Copy)]
enum Outcome {
    /// It goes on, and is not what it was.
    Changed = 1,
    Lost = 2,
    /// Lost for want of room, which nobody asked for.
    Overflow = 3,
    /// It goes on as its own answer, past the other stages.
    Answered = 4,
    /// It goes back as the answer to itself.
    Redirected = 5,
    /// It goes on as it was, beside a copy.
    Copied = 6,
    /// It goes on as it was; a copy was lost on its way.
    NotCopied = 7,
}

/// Nothing was done, as no rule hit.
const SPARED: u32 = 0;

/// Finds how many texts of the target have rules that speak of a frame, if it is the target's and to be asked about here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_find(skb: *mut __sk_buff, kind: u32, owner: u64) -> u32 {
    let behind = chaos_lift(skb, kind, owner);
    if behind >= STAGES as u32 {
        return 0;
    }
    let texts = asked::find(skb, direction(kind), behind);
    // What has stages behind it was found to be the target's, and to be asked about here, before. Looking a
    // socket up is not free: not for what no rule matches.
    if texts == 0 || behind != 0 {
        return texts;
    }
    let is_asked = layers::ask_here(skb, direction(kind))
        && (kind != EventKind::FrameIngress as u32 || arrives_for(skb, Receiver(owner)));
    if is_asked { texts } else { 0 }
}

/// Has a frame go through the stages but those that hold. Returns what the program has to, or [`HOLDS`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_stages(skb: *mut __sk_buff, kind: u32, texts: u32) -> i32 {
    let mut texts = texts;
    for stage in 0..Stage::Limit as u32 {
        for text in 0..MAX_TEXTS as u32 {
            if text >= texts {
                break;
            }
            let outcome = chaos_stage(skb, kind, text, stage);
            if outcome == Outcome::Copied as u32 || outcome == Outcome::NotCopied as u32 {
                texts = asked::find(skb, direction(kind), 0);
            }
            if outcome == Outcome::Lost as u32 {
                return TCX_DROP;
            }
            if outcome == Outcome::Answered as u32 {
                return TCX_NEXT;
            }
            if outcome == Outcome::Redirected as u32 {
                return TCX_REDIRECT;
            }
        }
    }
    if asked::chaos_holds(texts) != 0 { HOLDS + texts as i32 } else { TCX_NEXT }
}

/// In place of what a program returns, above the number of texts: the stages that hold are to come.
const HOLDS: i32 = 1 << 16;

/// Whether a frame is for a socket of the target. `receiver` is of it, if it was looked for.
#[inline(always)]
fn arrives_for(skb: *mut __sk_buff, receiver: Receiver) -> bool {
    let place = Place::of(skb, EventKind::FrameIngress as u32);
    if receiver != Receiver::NONE {
        return receiver.gets(skb, place);
    }
    let receiver = Receiver::of(skb, place);
    receiver.is_the_targets(skb) && receiver.gets(skb, place)
}

/// Asks the rules of one text and one stage, and does what they say: an [`Outcome`], or [`SPARED`].
///
/// It keeps little on its stack and reads no header itself: what the functions on a way through
/// the program have on their stacks may be 512 bytes together.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_stage(skb: *mut __sk_buff, kind: u32, text: u32, stage: u32) -> u32 {
    let Some((set, rules)) = asked::at(text, stage) else {
        return SPARED;
    };
    let now = Maps.now();
    let answers = rules & set.by_stage[Stage::Decision as usize] != 0;
    let flow = match answers || rules & set.by_flow != 0 {
        true => Some(chaos_flow(skb, kind)).filter(|flow| *flow != UNKNOWN),
        false => None,
    };
    if answers
        && let Some(flow) = flow
        && ENDED.get(frame_target(skb)).is_some_and(|ended| ended.get_ptr(&flow).is_some())
        && now < Maps.lease()
    {
        let outcome = chaos_reset(skb, kind, Place::of(skb, kind).0, flow, 1);
        if outcome != SPARED {
            return outcome;
        }
    }
    let answer = evaluate(&Maps, set, rules, flow, now);
    if answer == Decision::SPARED {
        return SPARED;
    }
    let action = answer.action();
    if dns::answers(action)
        && let Some(verdict) = answer.hit(&Maps, set.first_rule, now)
    {
        // Before it is turned round. What cannot be turned is lost, so nobody answers it either.
        chaos_confirm(skb, kind, answer.0, Outcome::Redirected as u32, set.first_rule);
        let how = action as u32 | verdict.slot << 8;
        return chaos_reply(skb, Place::of(skb, kind).0, how);
    }
    let outcome = if action == Action::Reset as u8 {
        chaos_reset(skb, kind, Place::of(skb, kind).0, flow.unwrap_or(UNKNOWN), 0)
    } else if action != 0 {
        chaos_act(skb, kind, answer.0)
    } else {
        SPARED
    };
    chaos_confirm(skb, kind, answer.0, outcome, set.first_rule);
    outcome
}

/// No flow has this hash but one in 2^64.
const UNKNOWN: u64 = 0;

/// [`flow_of`] the frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_flow(skb: *mut __sk_buff, kind: u32) -> u64 {
    headers(skb, kind).and_then(|packet| flow_of(&packet.event)).unwrap_or(UNKNOWN)
}

/// Does what the answer says: an [`Outcome`], or 0 where it cannot be done to this frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_act(skb: *mut __sk_buff, kind: u32, answer: u64) -> u32 {
    let Some(context) = NonNull::new(skb) else {
        return 0;
    };
    act(&TcContext::new(context), &SkbBytes(skb), kind, Decision(answer))
        .map_or(0, |outcome| outcome as u32)
}

/// [`reset::reset`]: an [`Outcome`], or 0 where it cannot be done to this frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_reset(
    skb: *mut __sk_buff,
    kind: u32,
    place: u64,
    flow: u64,
    again: u32,
) -> u32 {
    reset::reset(skb, direction(kind), Place(place), flow, again != 0)
        .map_or(0, |outcome| outcome as u32)
}

/// [`dns::reply`], as an [`Outcome`]. `how`: the action, in 8 bits, and the ledger slot.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_reply(skb: *mut __sk_buff, place: u64, how: u32) -> u32 {
    let (action, slot) = (how as u8, how >> 8);
    dns::reply(skb, Place(place), action, slot).unwrap_or(Outcome::Lost) as u32
}

/// Closes the decision of a set whose rules begin at `first_rule`, see [`confirm`], and tells of the shadow.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_confirm(
    skb: *mut __sk_buff,
    kind: u32,
    answer: u64,
    outcome: u32,
    first_rule: u32,
) -> u32 {
    let answer = Decision(answer);
    if outcome == Outcome::Overflow as u32 {
        if let Some(verdict) = answer.hit(&Maps, first_rule, 0) {
            Maps.count(verdict.slot, Count::Overflow);
        }
        return 0;
    }
    let done = outcome != 0 && outcome != Outcome::NotCopied as u32;
    // What is lost or damaged has its headers still, but for a bit of a checksum.
    let Some(Packet { event, .. }) = headers(skb, kind) else {
        if let Some(verdict) = answer.hit(&Maps, first_rule, 0) {
            Maps.count(verdict.slot, if done { Count::Injected } else { Count::Unfit });
        }
        return 0;
    };
    let now = Maps.now();
    if let Some(shadow) = answer.shadow(&Maps, first_rule, now) {
        Maps.emit(&event, &shadow, true);
    }
    if let Some(verdict) = answer.hit(&Maps, first_rule, now) {
        confirm(&Maps, &event, &verdict, done);
    }
    1
}

#[inline(always)]
fn headers(skb: *mut __sk_buff, kind: u32) -> Option<Packet> {
    let bytes: FrameBytes = SkbBytes(skb);
    parse(&bytes, bytes.ethertype(), direction(kind))
}

#[inline(always)]
fn direction(kind: u32) -> EventKind {
    if kind == EventKind::FrameEgress as u32 {
        EventKind::FrameEgress
    } else {
        EventKind::FrameIngress
    }
}

/// Does what was decided; `None` where that cannot be done to this packet.
#[inline(always)]
fn act(ctx: &TcContext, bytes: &FrameBytes, kind: u32, answer: Decision) -> Option<Outcome> {
    let packet = headers(bytes.0, kind)?;
    let (action, entropy) = (answer.action(), answer.entropy());
    if action == Action::CorruptSilently as u8 {
        corrupt::corrupt_silently(ctx, bytes, &packet, entropy)
    } else if action == Action::Corrupt as u8 {
        corrupt::corrupt(ctx, bytes, &packet, entropy)
    } else if action == Action::Duplicate as u8 {
        Some(clone::duplicate(bytes.0, direction(kind)))
    } else {
        None
    }
}

/// Where the packet ends, Ethernet padding left out.
#[inline(always)]
fn end(bytes: &FrameBytes, packet: &Packet) -> Option<u32> {
    // SAFETY: reading the program's context.
    let frame = unsafe { (*bytes.0).len }.wrapping_sub(LINK_HEADER);
    let length = if packet.event.family == Family::V4 {
        u16::from_be_bytes(bytes.read::<2>(packet.network + 2)?) as u32
    } else {
        match u16::from_be_bytes(bytes.read::<2>(packet.network + 4)?) as u32 {
            0 => 0,
            payload => payload + 40,
        }
    };
    // 0 stands for "longer than 64 KiB" (BIG TCP).
    let end = packet.network + length;
    Some(if length == 0 || end > frame { frame } else { end })
}

/// `flags`: `BPF_F_RECOMPUTE_CSUM` where what the device has summed up (`CHECKSUM_COMPLETE`) is to
/// tell of the change, 0 where a checksum field changes to balance it.
#[inline(always)]
fn store<const N: usize>(ctx: &TcContext, at: u32, bytes: &[u8; N], flags: u32) -> bool {
    let at = LINK_HEADER + at;
    match ctx.store(at as usize, bytes, flags as u64) {
        Ok(()) => true,
        Err(code) => {
            warn!(ctx, "bpf_skb_store_bytes at {} failed: {}", at, code);
            false
        }
    }
}
