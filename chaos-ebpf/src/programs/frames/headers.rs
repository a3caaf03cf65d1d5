//! Where the headers of a frame are.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{
    event::{Family, ProtocolClass},
    packet::Packet,
};

use super::headers;

/// As much of a [`Packet`] as fits a register: an action that goes by it needs none of the stack on
/// which headers are read.
///
/// From the low end: offset of the IP header (16 bits), of the transport header (16), 1 for IPv4,
/// 1 for a fragment, 1 for TCP, 1 for UDP. All 0 for what has no transport header that can be known.
#[derive(Clone, Copy)]
pub struct Place(pub u64);

impl Place {
    #[inline(always)]
    pub fn of(skb: *mut __sk_buff, kind: u32) -> Self {
        Self(chaos_place(skb, kind))
    }

    /// Counted from behind the link header.
    #[inline(always)]
    pub fn network(self) -> u32 {
        self.0 as u32 & 0xffff
    }

    /// Counted from behind the link header; 0 where it cannot be known.
    #[inline(always)]
    pub fn transport(self) -> u32 {
        (self.0 >> 16) as u32 & 0xffff
    }

    #[inline(always)]
    pub fn is_v4(self) -> bool {
        self.0 >> 32 & 1 == 1
    }

    /// Whether it has a header of TCP, as a first fragment does.
    #[inline(always)]
    pub fn has_tcp(self) -> bool {
        self.0 >> 34 & 1 == 1
    }

    /// Whether it has a header of UDP, as a first fragment does.
    #[inline(always)]
    pub fn has_udp(self) -> bool {
        self.0 >> 35 & 1 == 1
    }

    /// Whether it is a whole datagram of UDP.
    #[inline(always)]
    pub fn is_udp(self) -> bool {
        self.0 >> 33 & 0b101 == 0b100
    }

    /// Whether it is a whole segment of TCP.
    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        self.0 >> 33 & 0b11 == 0b10
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_place(skb: *mut __sk_buff, kind: u32) -> u64 {
    let Some(Packet { event, network, transport, fragmented }) = headers(skb, kind) else {
        return 0;
    };
    if transport == 0 {
        return 0;
    }
    network as u64
        | (transport as u64 & 0xffff) << 16
        | ((event.family == Family::V4) as u64) << 32
        | (fragmented as u64) << 33
        | ((event.protocol == ProtocolClass::Tcp) as u64) << 34
        | ((event.protocol == ProtocolClass::Udp) as u64) << 35
}
