//! Whose packet is it? For hooks that see a whole network namespace.
//!
//! Cgroup hooks need none of this: the kernel runs them for the target's sockets only.

use aya_ebpf::{
    Global,
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::generated::{
        bpf_sk_ancestor_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
        bpf_skb_ancestor_cgroup_id,
    },
};
use chaos_ebpf_common::event::{Event, Family, ProtocolClass};

/// Inode number of the target's cgroup directory.
#[unsafe(no_mangle)]
static TARGET_CGROUP: Global<u64> = Global::new(0);

/// Its depth below the root of the hierarchy.
#[unsafe(no_mangle)]
static TARGET_LEVEL: Global<u32> = Global::new(0);

/// Whether a packet that leaves was sent by a socket of the target. What the kernel itself sends
/// (a RST without a socket, forwarded packets) is nobody's.
#[inline(always)]
pub fn owns_egress(skb: *mut __sk_buff) -> bool {
    // SAFETY: the pointer is the program's context; kernel 4.19.
    let owner = unsafe { bpf_skb_ancestor_cgroup_id(skb, TARGET_LEVEL.load() as i32) };
    owner == TARGET_CGROUP.load()
}

/// Whether a packet that arrives is for a socket of the target: the socket is looked up as the
/// stack will do it a moment later.
#[inline(always)]
pub fn owns_ingress(skb: *mut __sk_buff, event: &Event) -> bool {
    let mut tuple = bpf_sock_tuple { __bindgen_anon_1: unsafe { core::mem::zeroed() } };
    let size = match event.family {
        Family::V4 => {
            tuple.__bindgen_anon_1.ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: word(&event.source, 0),
                daddr: word(&event.destination, 0),
                sport: event.source_port.to_be(),
                dport: event.destination_port.to_be(),
            };
            size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>()
        }
        Family::V6 => {
            tuple.__bindgen_anon_1.ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
                saddr: words(&event.source),
                daddr: words(&event.destination),
                sport: event.source_port.to_be(),
                dport: event.destination_port.to_be(),
            };
            size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2>()
        }
        Family::None => return false,
    };
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the tuple is initialised and `size` is one of the two sizes that the helpers take;
    // the reference is released on every path (kernel 4.20; ancestor id of a socket 5.8).
    unsafe {
        let socket = match event.protocol {
            ProtocolClass::Tcp => {
                bpf_sk_lookup_tcp(skb.cast(), &raw mut tuple, size as u32, netns, 0)
            }
            ProtocolClass::Udp => {
                bpf_sk_lookup_udp(skb.cast(), &raw mut tuple, size as u32, netns, 0)
            }
            ProtocolClass::Icmp | ProtocolClass::Other => return false,
        };
        if socket.is_null() {
            return false;
        }
        let owner = bpf_sk_ancestor_cgroup_id(socket.cast(), TARGET_LEVEL.load() as i32);
        bpf_sk_release(socket.cast());
        owner == TARGET_CGROUP.load()
    }
}

#[inline(always)]
fn word(address: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([address[at], address[at + 1], address[at + 2], address[at + 3]])
}

#[inline(always)]
fn words(address: &[u8; 16]) -> [u32; 4] {
    [word(address, 0), word(address, 4), word(address, 8), word(address, 12)]
}
