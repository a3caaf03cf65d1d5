//! Damage: with a valid checksum, or so that the receiver notices.

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_RECOMPUTE_CSUM},
    programs::TcContext,
};
use aya_log_ebpf::warn;
use chaos_ebpf_common::{
    damage,
    event::{Family, ProtocolClass},
    packet::{Bytes, Packet},
};

use super::{FrameBytes, LINK_HEADER, Outcome, end, store};

/// One bit of the payload flipped and the checksum repaired, whoever is to compute it: the
/// difference goes into the checksum field where that is final, and is left to the device where
/// it is not (`CHECKSUM_PARTIAL`).
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_l4_csum_replace`
#[inline(always)]
pub fn corrupt_silently(
    ctx: &TcContext,
    bytes: &FrameBytes,
    packet: &Packet,
    entropy: u64,
) -> Option<Outcome> {
    let (checksum, flags) = match packet.event.protocol {
        ProtocolClass::Tcp => (16, 2),
        ProtocolClass::Udp => (6, 2 | BPF_F_MARK_MANGLED_0 as u64),
        ProtocolClass::Icmp | ProtocolClass::Other => return None,
    };
    let (at, old, new) = flip(ctx, bytes, packet, entropy)?;
    // The checksum adds 16-bit words: the byte's place in its word decides what changes.
    let odd = at.wrapping_sub(packet.transport) & 1 == 1;
    let word = |byte: u8| u16::from_ne_bytes(if odd { [0, byte] } else { [byte, 0] }) as u64;
    let field = LINK_HEADER + packet.transport + checksum;
    if ctx.l4_csum_replace(field as usize, word(old), word(new), flags).is_err() {
        warn!(ctx, "bpf_l4_csum_replace at {} failed: the receiver may notice the damage", field);
    }
    Some(Outcome::Changed)
}

/// Damage that the receiver notices. A flipped payload bit alone is noticed only where the
/// checksum is already final; on virtual devices it is not even computed. So the damage goes to a
/// checksum that every receiver verifies itself: the IPv4 header's, or the UDP checksum that IPv6
/// does not allow to be zero (RFC 8200 §8.1). Where there is neither, the packet is lost, as the
/// receiver would have seen to.
#[inline(always)]
pub fn corrupt(
    ctx: &TcContext,
    bytes: &FrameBytes,
    packet: &Packet,
    entropy: u64,
) -> Option<Outcome> {
    // SAFETY: reading the program's context.
    let segmented_later = unsafe { (*bytes.0).gso_size } != 0;
    if segmented_later {
        // Segmentation computes headers and checksums anew and would heal the damage.
        return Some(Outcome::Lost);
    }
    if packet.event.family == Family::V4 {
        let field = packet.network + 10;
        let [high, low] = bytes.read::<2>(field)?;
        let broken = [high ^ (1 << (entropy & 7)), low];
        return store(ctx, field, &broken, BPF_F_RECOMPUTE_CSUM).then_some(Outcome::Changed);
    }
    if packet.event.protocol == ProtocolClass::Udp && packet.transport != 0 {
        return store(ctx, packet.transport + 6, &[0, 0], BPF_F_RECOMPUTE_CSUM)
            .then_some(Outcome::Changed);
    }
    Some(Outcome::Lost)
}

/// Flips one bit of the payload: where, the byte before and the byte after. `None` where there is
/// no payload that can be told from headers.
#[inline(always)]
fn flip(
    ctx: &TcContext,
    bytes: &FrameBytes,
    packet: &Packet,
    entropy: u64,
) -> Option<(u32, u8, u8)> {
    if packet.transport == 0 {
        return None;
    }
    let header = match packet.event.protocol {
        ProtocolClass::Tcp => {
            let [offset] = bytes.read::<1>(packet.transport + 12)?;
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
    let end = end(bytes, packet)?;
    if end <= start {
        return None;
    }
    let (byte, bit) = damage::bit(entropy, end - start);
    let at = start + byte;
    let [old] = bytes.read::<1>(at)?;
    let new = old ^ (1 << bit);
    store(ctx, at, &[new], 0).then_some((at, old, new))
}
