//! Tells whether address translation has hidden the sender of a frame on loopback from its receiver, or the
//! other way round.
//!
//! Whatever is on loopback was sent by a socket of this network namespace. If none has the frame's
//! addresses, they are not those that the socket knows.

use core::mem::{MaybeUninit, swap};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use chaos_ebpf_common::LOOPBACK;

use super::{headers::Place, receiver::fill};
use crate::{bytes::SkbBytes, kernel_memory::address_of, socket_owner};

/// The socket that sent a frame, looked up by the frame's addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sender {
    /// There is none, so the addresses were translated; or it has been closed since.
    Hidden = 0,
    /// It is connected to where the frame goes.
    Connected = 1,
    /// It is not connected: what it has named is not known. Also what is not of TCP or UDP, or not on
    /// loopback.
    Unknown = 2,
}

impl Sender {
    #[inline(always)]
    pub fn of(skb: *mut __sk_buff, place: Place) -> Self {
        // SAFETY: reading the program's context.
        if unsafe { (*skb).ifindex } != LOOPBACK {
            return Self::Unknown;
        }
        match chaos_sender(skb, place.0) {
            0 => Self::Hidden,
            1 => Self::Connected,
            _ => Self::Unknown,
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_sender(skb: *mut __sk_buff, place: u64) -> u32 {
    let place = Place(place);
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::zeroed();
    // SAFETY: all zeroes is a valid tuple.
    let asked = unsafe { tuple.assume_init_mut() };
    let Some(size) = fill(asked, &SkbBytes(skb), place) else {
        return Sender::Unknown as u32;
    };
    // SAFETY: of the union, what was filled in, seen from the other end.
    unsafe {
        if place.is_v4() {
            let ends = &mut asked.__bindgen_anon_1.ipv4;
            swap(&mut ends.saddr, &mut ends.daddr);
            swap(&mut ends.sport, &mut ends.dport);
        } else {
            let ends = &mut asked.__bindgen_anon_1.ipv6;
            swap(&mut ends.saddr, &mut ends.daddr);
            swap(&mut ends.sport, &mut ends.dport);
        }
    }
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the tuple is initialised and `size` is one of the two sizes that the helpers take; the
    // reference is released on every path.
    unsafe {
        let socket = if place.has_tcp() {
            bpf_skc_lookup_tcp(skb.cast(), tuple.as_mut_ptr(), size, netns, 0)
        } else {
            bpf_sk_lookup_udp(skb.cast(), tuple.as_mut_ptr(), size, netns, 0)
        };
        if socket.is_null() {
            return Sender::Hidden as u32;
        }
        let is_connected = socket_owner::is_connected(address_of(&socket));
        bpf_sk_release(socket.cast());
        if is_connected { Sender::Connected as u32 } else { Sender::Unknown as u32 }
    }
}
