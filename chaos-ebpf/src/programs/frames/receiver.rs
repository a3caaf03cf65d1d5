//! Tells for whose socket a frame is that arrives.
//!
//! The socket is looked up by the frame's addresses, as the stack will do it later, and read. It is
//! never assigned to the frame, although a classifier can ask for the cgroup of a frame's own socket
//! only: address translation may yet send the frame elsewhere, and the kernel forwards nothing that
//! has a socket.
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/ip_forward.c> `ip_forward`

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NOT_FWDED,
        bpf_fib_lookup, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::generated::{
        bpf_fib_lookup as look_up_route, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp,
    },
};
use chaos_ebpf_common::packet::Bytes;

use super::{FrameBytes, headers::Place};
use crate::{bytes::SkbBytes, kernel_memory::address_of, ownership::frame_owner, socket_owner};

/// `pkt_type` of a packet for this machine (`include/uapi/linux/if_packet.h`). Broadcast and multicast
/// go to any number of sockets.
const PACKET_HOST: u32 = 0;

/// `include/linux/socket.h`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The socket that a frame arrives for, in a register: the address of its cgroup, of which the lowest bit says that it is
/// connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Receiver(pub u64);

impl Receiver {
    /// It belongs to nobody, or was not looked for.
    pub const NONE: Self = Self(0);

    const CONNECTED: u64 = 1;

    /// `place` is that of a frame of TCP or UDP; of fragments the first, which has the ports.
    #[inline(always)]
    pub fn of(skb: *mut __sk_buff, place: Place) -> Self {
        Self(chaos_receiver(skb, place.0))
    }

    /// The id of the cgroup at this depth to which it belongs; 0 where there is none.
    #[inline(always)]
    pub fn ancestor(self, level: u32) -> u64 {
        socket_owner::ancestor(self.0 & !Self::CONNECTED, level)
    }

    /// Whether it belongs to the target for which the program runs.
    #[inline(always)]
    pub fn is_the_targets(self, skb: *mut __sk_buff) -> bool {
        let Some(owner) = frame_owner(skb) else { return false };
        self != Self::NONE && self.ancestor(owner.level) == owner.cgroup
    }

    /// Whether the frame is for it. A connected socket has the frame's addresses and ports. One that listens, or is bound
    /// to every address, is also found for a frame that is on its way to another machine, so then the routing table is
    /// asked.
    #[inline(always)]
    pub fn gets(self, skb: *mut __sk_buff, place: Place) -> bool {
        self.0 & Self::CONNECTED != 0 || chaos_is_local(skb, place.0) != 0
    }
}

const NOBODY: u64 = Receiver::NONE.0;

/// Functions of their own, so that what they keep on the stack is there while they work only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_receiver(skb: *mut __sk_buff, place: u64) -> u64 {
    let place = Place(place);
    // SAFETY: reading the program's context.
    if unsafe { (*skb).pkt_type } != PACKET_HOST {
        return NOBODY;
    }
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::zeroed();
    // SAFETY: all zeroes is a valid tuple.
    let Some(size) = fill(unsafe { tuple.assume_init_mut() }, &SkbBytes(skb), place) else {
        return NOBODY;
    };
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the tuple is initialised and `size` is one of the two sizes that the helpers take; the
    // reference is released on every path. TCP: the request socket of a half-open connection is found
    // as such (kernel 5.2).
    unsafe {
        let socket = if place.has_tcp() {
            bpf_skc_lookup_tcp(skb.cast(), tuple.as_mut_ptr(), size, netns, 0)
        } else {
            bpf_sk_lookup_udp(skb.cast(), tuple.as_mut_ptr(), size, netns, 0)
        };
        if socket.is_null() {
            return NOBODY;
        }
        let address = address_of(&socket);
        let is_connected = socket_owner::is_connected(address);
        let is_everybodys = place.has_udp() && socket_owner::is_the_kernels(address);
        let cgroup = socket_owner::cgroup(address);
        bpf_sk_release(socket.cast());
        if cgroup == NOBODY || is_everybodys { NOBODY } else { cgroup | is_connected as u64 }
    }
}

/// Addresses and ports, which the headers have one behind the other as the tuple does.
#[inline(always)]
pub fn fill(tuple: &mut bpf_sock_tuple, bytes: &FrameBytes, place: Place) -> Option<u32> {
    if !place.has_tcp() && !place.has_udp() {
        return None;
    }
    let [a, b, c, d] = bytes.read(place.transport())?;
    let (sport, dport) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
    let addresses = &mut tuple.__bindgen_anon_1;
    if place.is_v4() {
        let [saddr, daddr] = words(bytes.read(place.network() + 12)?);
        addresses.ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 { saddr, daddr, sport, dport };
        return Some(size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>() as u32);
    }
    let saddr = long_words(bytes.read(place.network() + 8)?);
    let daddr = long_words(bytes.read(place.network() + 24)?);
    addresses.ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 { saddr, daddr, sport, dport };
    Some(size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2>() as u32)
}

/// Whether the routing table keeps the frame on this machine, or has no way for it. Where nothing is
/// forwarded, whatever arrives is for this machine (kernel 4.18).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_is_local(skb: *mut __sk_buff, place: u64) -> u32 {
    let (bytes, place): (FrameBytes, _) = (SkbBytes(skb), Place(place));
    let mut query = MaybeUninit::<bpf_fib_lookup>::zeroed();
    // SAFETY: all zeroes is a valid query.
    let asked = unsafe { query.assume_init_mut() };
    let Some([a, b, c, d]) = bytes.read::<4>(place.transport()) else {
        return 0;
    };
    (asked.sport, asked.dport) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
    asked.l4_protocol = if place.has_tcp() { TCP } else { UDP };
    // SAFETY: reading the program's context.
    asked.ifindex = unsafe { (*skb).ifindex };
    if place.is_v4() {
        let Some(addresses) = bytes.read::<8>(place.network() + 12) else {
            return 0;
        };
        asked.family = AF_INET;
        let [source, destination] = words(addresses);
        asked.__bindgen_anon_3.ipv4_src = source;
        asked.__bindgen_anon_4.ipv4_dst = destination;
    } else {
        let source = bytes.read::<16>(place.network() + 8);
        let (Some(source), Some(destination)) = (source, bytes.read::<16>(place.network() + 24))
        else {
            return 0;
        };
        asked.family = AF_INET6;
        asked.__bindgen_anon_3.ipv6_src = long_words(source);
        asked.__bindgen_anon_4.ipv6_dst = long_words(destination);
    }
    let size = size_of::<bpf_fib_lookup>() as i32;
    // SAFETY: the query is initialised and of this size.
    let answer = unsafe { look_up_route(skb.cast(), query.as_mut_ptr(), size, 0) };
    let is_local = answer == BPF_FIB_LKUP_RET_NOT_FWDED as i64
        || answer == BPF_FIB_LKUP_RET_FWD_DISABLED as i64;
    is_local as u32
}

#[inline(always)]
fn words(addresses: [u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = addresses;
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

#[inline(always)]
fn long_words(address: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    let [first, second] = words([a, b, c, d, e, f, g, h]);
    let [third, fourth] = words([i, j, k, l, m, n, o, p]);
    [first, second, third, fourth]
}
