//! Calls that name an address: connect, bind, sendto/sendmsg.
//!
//! `bpf_sock_addr` holds addresses and ports in network byte order, the port in the low half of a
//! `u32`: <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/bpf.h>

use aya_ebpf::{bindings::bpf_sock_addr, macros::cgroup_sock_addr, programs::SockAddrContext};
use chaos_ebpf_common::{
    event::{Address, Event, EventKind, Family, ProtocolClass, widen},
    packet::normalise_v6,
};

use super::answer_call;

/// Which end of the event the address in the call is.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// `tcp_v4_pre_connect` and its siblings, before any packet.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v4(ctx.sock_addr, EventKind::Connect, End::Destination))
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v6(ctx.sock_addr, EventKind::Connect, End::Destination))
}

/// `inet_bind_sk`, before the address is taken.
#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v4(ctx.sock_addr, EventKind::Bind, End::Source))
}

#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v6(ctx.sock_addr, EventKind::Bind, End::Source))
}

/// `udp_sendmsg`, only where the call names the address and the socket is not connected.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v4(ctx.sock_addr, EventKind::SendTo, End::Destination))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    answer_call(&named_v6(ctx.sock_addr, EventKind::SendTo, End::Destination))
}

#[inline(always)]
fn named_v4(ctx: *const bpf_sock_addr, kind: EventKind, end: End) -> Event {
    // SAFETY: the pointer is the program's context; these fields are readable at each of these
    // hooks (`sock_addr_is_valid_access`).
    let (address, port, protocol) = unsafe { ((*ctx).user_ip4, (*ctx).user_port, (*ctx).protocol) };
    let mut event = Event::bare(kind, ProtocolClass::of_socket(protocol));
    event.family = Family::V4;
    place(&mut event, widen(address.to_ne_bytes()), u16::from_be(port as u16), end);
    event
}

#[inline(always)]
fn named_v6(ctx: *const bpf_sock_addr, kind: EventKind, end: End) -> Event {
    // SAFETY: as in `named_v4`; each word of the address is read on its own, as the kernel
    // rewrites context reads one by one.
    let (a, b, c, d, port, protocol) = unsafe {
        (
            (*ctx).user_ip6[0],
            (*ctx).user_ip6[1],
            (*ctx).user_ip6[2],
            (*ctx).user_ip6[3],
            (*ctx).user_port,
            (*ctx).protocol,
        )
    };
    let mut event = Event::bare(kind, ProtocolClass::of_socket(protocol));
    event.family = Family::V6;
    place(&mut event, join(a, b, c, d), u16::from_be(port as u16), end);
    normalise_v6(&mut event);
    event
}

#[inline(always)]
fn place(event: &mut Event, address: Address, port: u16, end: End) {
    match end {
        End::Source => {
            event.source = address;
            event.source_port = port;
        }
        End::Destination => {
            event.destination = address;
            event.destination_port = port;
        }
    }
}

/// Four words in network byte order as an address.
#[inline(always)]
pub fn join(a: u32, b: u32, c: u32, d: u32) -> Address {
    let (a, b, c, d) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}
