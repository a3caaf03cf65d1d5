//! Frames on the interfaces of the target's network namespace: corruption.

use core::ptr::NonNull;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_RECOMPUTE_CSUM,
        tcx_action_base::{TCX_DROP, TCX_NEXT},
    },
    macros::classifier,
    programs::TcContext,
};
use aya_log_ebpf::warn;
use chaos_ebpf_common::{
    event::{EventKind, Family, ProtocolClass},
    gate::{Answer, Ground, Verdict, consult, matches_any, settle},
    ledger::Count,
    packet::{Octets, Packet, parse},
    rule::Action,
};

use crate::{
    ground::Maps,
    octets::SkbOctets,
    scope::{owns_egress, owns_ingress},
};

/// The link header: the agent attaches to Ethernet and loopback devices only.
const LINK_HEADER: u32 = 14;

/// A frame's bytes from behind the link header on.
type FrameOctets = SkbOctets<LINK_HEADER>;

/// `sch_handle_egress`, in `__dev_queue_xmit` before the qdisc.
#[classifier]
pub fn tcx_egress(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast();
    if owns_egress(skb) { answer(skb, EventKind::FrameEgress) } else { TCX_NEXT }
}

/// `sch_handle_ingress`, in `__netif_receive_skb_core` before the stack.
#[classifier]
pub fn tcx_ingress(ctx: TcContext) -> i32 {
    answer(ctx.as_ptr().cast(), EventKind::FrameIngress)
}

/// The three steps are functions that the verifier checks each once, on their own, and that have
/// a stack each (kernel 5.6, <https://docs.kernel.org/bpf/verifier.html>): in line they are walked
/// for every way in which headers can be stacked. Each reads the headers again, the last two only
/// for the frames that are hit.
#[inline(always)]
fn answer(skb: *mut __sk_buff, kind: EventKind) -> i32 {
    let answer = chaos_consult(skb, kind as u32);
    if answer == Answer::SPARED.0 {
        return TCX_NEXT;
    }
    let outcome = chaos_act(skb, kind as u32, answer);
    chaos_settle(skb, kind as u32, answer, (outcome != UNFIT) as u32);
    if outcome == LOST { TCX_DROP } else { TCX_NEXT }
}

/// What the rules say of the frame, as an [`Answer`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_consult(skb: *mut __sk_buff, kind: u32) -> u64 {
    let Some(Packet { event, .. }) = headers(skb, kind) else {
        return Answer::SPARED.0;
    };
    // Looking the socket up is not free and touches the packet: not for what no rule matches.
    let is_egress = event.kind == EventKind::FrameEgress;
    if is_egress || matches_any(&Maps, &event) && owns_ingress(skb, &event) {
        consult(&Maps, &event).0.0
    } else {
        Answer::SPARED.0
    }
}

/// Outcomes of [`chaos_act`].
const UNFIT: u32 = 0;
const CHANGED: u32 = 1;
const LOST: u32 = 2;

/// Does what the answer says.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_act(skb: *mut __sk_buff, kind: u32, answer: u64) -> u32 {
    let (Some(context), Some(verdict)) = (NonNull::new(skb), Answer(answer).hit(0)) else {
        return UNFIT;
    };
    match act(&TcContext::new(context), &SkbOctets(skb), kind, &verdict) {
        None => UNFIT,
        Some(TCX_DROP) => LOST,
        Some(_) => CHANGED,
    }
}

/// Closes the decision, see [`settle`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_settle(skb: *mut __sk_buff, kind: u32, answer: u64, done: u32) -> u32 {
    let Some(verdict) = Answer(answer).hit(Maps.now()) else {
        return 0;
    };
    // What is lost or damaged has its headers still, but for a bit of a checksum.
    let Some(Packet { event, .. }) = headers(skb, kind) else {
        Maps.count(verdict.slot, if done != 0 { Count::Injected } else { Count::Unfit });
        return 0;
    };
    settle(&Maps, &event, &verdict, done != 0);
    1
}

#[inline(always)]
fn headers(skb: *mut __sk_buff, kind: u32) -> Option<Packet> {
    let octets: FrameOctets = SkbOctets(skb);
    parse(&octets, octets.ethertype(), direction(kind))
}

#[inline(always)]
fn direction(kind: u32) -> EventKind {
    if kind == EventKind::FrameEgress as u32 {
        EventKind::FrameEgress
    } else {
        EventKind::FrameIngress
    }
}

/// Does what the verdict says; `None` where that cannot be done to this packet.
#[inline(always)]
fn act(ctx: &TcContext, octets: &FrameOctets, kind: u32, verdict: &Verdict) -> Option<i32> {
    let packet = headers(octets.0, kind)?;
    if verdict.is(Action::CorruptSilently) {
        corrupt_silently(ctx, octets, &packet, verdict.entropy)
    } else if verdict.is(Action::Corrupt) {
        corrupt(ctx, octets, &packet, verdict.entropy)
    } else {
        None
    }
}

/// One bit of the payload flipped and the checksum repaired, whoever is to compute it: the
/// difference goes into the checksum field where that is final, and is left to the device where
/// it is not (`CHECKSUM_PARTIAL`).
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_l4_csum_replace`
#[inline(always)]
fn corrupt_silently(
    ctx: &TcContext,
    octets: &FrameOctets,
    packet: &Packet,
    entropy: u64,
) -> Option<i32> {
    let (checksum, flags) = match packet.event.protocol {
        ProtocolClass::Tcp => (16, 2),
        ProtocolClass::Udp => (6, 2 | BPF_F_MARK_MANGLED_0 as u64),
        ProtocolClass::Icmp | ProtocolClass::Other => return None,
    };
    let (at, old, new) = flip(ctx, octets, packet, entropy)?;
    // The checksum adds 16-bit words: the byte's place in its word decides what changes.
    let odd = at.wrapping_sub(packet.transport) & 1 == 1;
    let word = |byte: u8| u16::from_ne_bytes(if odd { [0, byte] } else { [byte, 0] }) as u64;
    let field = LINK_HEADER + packet.transport + checksum;
    if ctx.l4_csum_replace(field as usize, word(old), word(new), flags).is_err() {
        warn!(ctx, "bpf_l4_csum_replace at {} failed: the receiver may notice the damage", field);
    }
    Some(TCX_NEXT)
}

/// Damage that the receiver notices. A flipped payload bit alone is noticed only where the
/// checksum is already final; on virtual devices it is not even computed. So the damage goes to a
/// checksum that every receiver verifies itself: the IPv4 header's, or the UDP checksum that IPv6
/// does not allow to be zero (RFC 8200 §8.1). Where there is neither, the packet is lost, as the
/// receiver would have seen to.
#[inline(always)]
fn corrupt(ctx: &TcContext, octets: &FrameOctets, packet: &Packet, entropy: u64) -> Option<i32> {
    // SAFETY: reading the program's context.
    let segmented_later = unsafe { (*octets.0).gso_size } != 0;
    if segmented_later {
        // Segmentation computes headers and checksums anew and would heal the damage.
        return Some(TCX_DROP);
    }
    if packet.event.family == Family::V4 {
        let field = packet.network + 10;
        let [high, low] = octets.read::<2>(field)?;
        let broken = [high ^ (1 << (entropy & 7)), low];
        return store(ctx, field, &broken, BPF_F_RECOMPUTE_CSUM).then_some(TCX_NEXT);
    }
    if packet.event.protocol == ProtocolClass::Udp && packet.transport != 0 {
        return store(ctx, packet.transport + 6, &[0, 0], BPF_F_RECOMPUTE_CSUM).then_some(TCX_NEXT);
    }
    Some(TCX_DROP)
}

/// Flips one bit of the payload: where, the byte before and the byte after. `None` where there is
/// no payload that can be told from headers.
#[inline(always)]
fn flip(
    ctx: &TcContext,
    octets: &FrameOctets,
    packet: &Packet,
    entropy: u64,
) -> Option<(u32, u8, u8)> {
    if packet.transport == 0 {
        return None;
    }
    let header = match packet.event.protocol {
        ProtocolClass::Tcp => {
            let [offset] = octets.read::<1>(packet.transport + 12)?;
            let header = (offset >> 4) as u32 * 4;
            if header < 20 {
                return None;
            }
            header
        }
        ProtocolClass::Udp => 8,
        ProtocolClass::Icmp | ProtocolClass::Other => return None,
    };
    let start = packet.transport + header;
    let end = end(octets, packet)?;
    if end <= start {
        return None;
    }
    let at = start + ((entropy >> 16) % (end - start) as u64) as u32;
    let [old] = octets.read::<1>(at)?;
    let new = old ^ (1 << (entropy & 7));
    store(ctx, at, &[new], 0).then_some((at, old, new))
}

/// Where the packet ends, Ethernet padding left out.
#[inline(always)]
fn end(octets: &FrameOctets, packet: &Packet) -> Option<u32> {
    // SAFETY: reading the program's context.
    let frame = unsafe { (*octets.0).len }.wrapping_sub(LINK_HEADER);
    let length = if packet.event.family == Family::V4 {
        u16::from_be_bytes(octets.read::<2>(packet.network + 2)?) as u32
    } else {
        match u16::from_be_bytes(octets.read::<2>(packet.network + 4)?) as u32 {
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
