//! A frame turned round, for an answer in the name of whoever it is for.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_CSUM_LEVEL_INC, BPF_CSUM_LEVEL_QUERY, BPF_CSUM_LEVEL_RESET,
        BPF_F_RECOMPUTE_CSUM,
    },
    helpers::generated::{
        bpf_csum_level, bpf_csum_update, bpf_skb_change_tail, bpf_skb_store_bytes,
    },
};
use chaos_ebpf_common::{checksum, packet::Bytes};

use super::{FrameBytes, LINK_HEADER, headers::Place};
use crate::bytes::SkbBytes;

/// Both addresses, source first; an IPv4 address is followed by zeroes.
type Addresses = [u8; 32];

/// Writes into the frame, counted from its beginning.
#[inline(always)]
fn write<const N: usize>(skb: *mut __sk_buff, at: u32, bytes: &[u8; N], flags: u32) -> Option<()> {
    let (from, length) = (bytes.as_ptr().cast_mut().cast(), N as u32);
    // SAFETY: the helper reads N bytes and bounds `at` by the frame.
    let failed = unsafe { bpf_skb_store_bytes(skb.cast(), at, from, length, flags as u64) };
    if failed == 0 { Some(()) } else { None }
}

/// Writes behind the link header, which alone is no part of what a device has summed up.
#[inline(always)]
pub fn put<const N: usize>(bytes: &FrameBytes, at: u32, value: &[u8; N]) -> Option<()> {
    write(bytes.0, LINK_HEADER + at, value, BPF_F_RECOMPUTE_CSUM)
}

/// Addresses the frame to nobody, so that the stack that it comes up to takes no notice of it
/// (`PACKET_OTHERHOST`).
#[inline(always)]
pub fn spoil(bytes: &FrameBytes) -> Option<()> {
    // Locally administered, and as good as certainly nobody's.
    write(bytes.0, 0, &[0x02, 0xc4, 0xa0, 0x5a, 0x6e, 0x74], 0)
}

/// Where the packet ends by what its IP header says.
#[inline(always)]
pub fn end(bytes: &FrameBytes, place: Place) -> Option<u32> {
    let network = place.network();
    Some(if place.is_v4() {
        network + u16::from_be_bytes(bytes.read(network + 2)?) as u32
    } else {
        network + 40 + u16::from_be_bytes(bytes.read(network + 4)?) as u32
    })
}

/// Cuts the frame, or makes it longer, to this many bytes behind the beginning of its transport
/// header, and says so in its IP header. Nothing has been changed where that fails at once.
#[inline(always)]
pub fn resize(bytes: &FrameBytes, place: Place, length: u32) -> Option<()> {
    if chaos_resize(bytes.0, place.0, length) != 0 { Some(()) } else { None }
}

/// Exchanges source and destination, of the link as of the network; no checksum changes by that.
#[inline(always)]
pub fn turn(bytes: &FrameBytes, place: Place) -> Option<()> {
    if chaos_reflect(bytes.0, place.0) != 0 { Some(()) } else { None }
}

/// Functions of their own, so that what they keep on the stack is there while they work only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_resize(skb: *mut __sk_buff, place: u64, length: u32) -> u32 {
    resize_here(&SkbBytes(skb), Place(place), length).is_some() as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_reflect(skb: *mut __sk_buff, place: u64) -> u32 {
    turn_here(&SkbBytes(skb), Place(place)).is_some() as u32
}

#[inline(always)]
fn resize_here(bytes: &FrameBytes, place: Place, length: u32) -> Option<()> {
    let frame = LINK_HEADER + place.transport() + length;
    // SAFETY: the pointer is the program's context.
    if unsafe { bpf_skb_change_tail(bytes.0, frame, 0) } != 0 {
        return None;
    }
    let network = place.network();
    if !place.is_v4() {
        let payload = place.transport() + length - network - 40;
        return put(bytes, network + 4, &(payload as u16).to_be_bytes());
    }
    let total = (place.transport() + length - network) as u16;
    let old = u16::from_be_bytes(bytes.read(network + 2)?);
    let sum = u16::from_be_bytes(bytes.read(network + 10)?);
    put(bytes, network + 2, &total.to_be_bytes())?;
    put(bytes, network + 10, &checksum::update(sum, old, total).to_be_bytes())
}

/// What the pseudo header of so many bytes of a protocol adds to the frame's checksum ([`checksum::pseudo`]).
#[inline(always)]
pub fn pseudo(bytes: &FrameBytes, place: Place, protocol: u8, length: u32) -> Option<u64> {
    // The number of a protocol is in it.
    Some(chaos_pseudo(bytes.0, place.0, protocol as u32, length)).filter(|sum| *sum != 0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_pseudo(skb: *mut __sk_buff, place: u64, protocol: u32, length: u32) -> u64 {
    let addresses = addresses(&SkbBytes(skb), Place(place));
    addresses.map_or(0, |addresses| checksum::pseudo(&addresses, protocol as u8, length))
}

#[inline(always)]
fn addresses(bytes: &FrameBytes, place: Place) -> Option<Addresses> {
    if !place.is_v4() {
        return bytes.read(place.network() + 8);
    }
    let mut addresses = [0; 32];
    let [a, b, c, d, e, f, g, h] = bytes.read(place.network() + 12)?;
    [addresses[0], addresses[1], addresses[2], addresses[3]] = [a, b, c, d];
    [addresses[16], addresses[17], addresses[18], addresses[19]] = [e, f, g, h];
    Some(addresses)
}

#[inline(always)]
fn turn_here(bytes: &FrameBytes, place: Place) -> Option<()> {
    let link: [u8; 12] = SkbBytes::<0>(bytes.0).read(0)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = link;
    write(bytes.0, 0, &[g, h, i, j, k, l, a, b, c, d, e, f], 0)?;
    if place.is_v4() {
        let at = place.network() + 12;
        let [a, b, c, d, e, f, g, h] = bytes.read(at)?;
        return put(bytes, at, &[e, f, g, h, a, b, c, d]);
    }
    let at = place.network() + 8;
    let (source, destination): ([u8; 16], [u8; 16]) = (bytes.read(at)?, bytes.read(at + 16)?);
    put(bytes, at, &destination)?;
    put(bytes, at + 16, &source)
}

/// Whether the device is still to complete the transport checksum (`CHECKSUM_PARTIAL`), which no
/// helper tells. Raising the level makes "unnecessary" of "none", and of nothing else; what is then
/// neither that nor "complete" is partial. What was unnecessary or none is none afterwards: the
/// receiver verifies it.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_csum_level` (kernel 5.8),
/// `bpf_csum_update`
#[inline(always)]
pub fn is_partial(skb: *mut __sk_buff) -> bool {
    // SAFETY: the pointer is the program's context; adding 0 to a sum changes nothing.
    unsafe {
        bpf_csum_level(skb, BPF_CSUM_LEVEL_INC as u64);
        if bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY as u64) >= 0 {
            bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET as u64);
            return false;
        }
        bpf_csum_update(skb, 0) < 0
    }
}
