//! Whose packet is it, and whose call? For hooks that see a whole network namespace or the whole
//! machine.
//!
//! Cgroup hooks need none of this: the kernel runs them for the target's sockets only.

use core::mem::MaybeUninit;

use aya_ebpf::{
    Global,
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release,
        bpf_skb_ancestor_cgroup_id, bpf_skc_lookup_tcp,
    },
};
use chaos_ebpf_common::event::{Event, Family, ProtocolClass};

/// `pkt_type` of a packet for this machine (`include/uapi/linux/if_packet.h`).
const PACKET_HOST: u32 = 0;

#[unsafe(no_mangle)]
static TARGET_CGROUP: Global<u64> = Global::new(0);

/// The depth of that directory below the root of the hierarchy.
#[unsafe(no_mangle)]
static TARGET_LEVEL: Global<u32> = Global::new(0);

/// Inode number of the target's cgroup directory.
#[inline(always)]
pub fn target() -> u64 {
    TARGET_CGROUP.load()
}

/// Whether the current task is in the target's cgroup or below it. A kernel thread never is: they
/// live in the root cgroup, which is no target.
#[inline(always)]
pub fn owns_current() -> bool {
    // SAFETY: the helper reads the current task (kernel 5.7 for tracing programs).
    let owner = unsafe { bpf_get_current_ancestor_cgroup_id(TARGET_LEVEL.load() as i32) };
    owner == target()
}

/// Whether a packet that leaves was sent by a socket of the target. What the kernel itself sends
/// (a RST without a socket, forwarded packets) is nobody's.
#[inline(always)]
pub fn owns_egress(skb: *mut __sk_buff) -> bool {
    // SAFETY: the pointer is the program's context; kernel 4.19.
    let owner = unsafe { bpf_skb_ancestor_cgroup_id(skb, TARGET_LEVEL.load() as i32) };
    owner == target()
}

/// Whether a packet that arrives is for a socket of the target. The socket is looked up as the
/// stack will do it a moment later and handed to the packet, because a classifier can ask for the
/// cgroup of a packet's socket only; the stack then uses that socket instead of looking again.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `bpf_sk_assign` (kernel 5.7)
#[inline(always)]
pub fn owns_ingress(skb: *mut __sk_buff, event: &Event) -> bool {
    // SAFETY: reading the program's context.
    if unsafe { (*skb).pkt_type } != PACKET_HOST {
        // Broadcast and multicast go to any number of sockets.
        return false;
    }
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::zeroed();
    // SAFETY: all zeroes is a valid tuple.
    let addresses = unsafe { &mut tuple.assume_init_mut().__bindgen_anon_1 };
    let size = match event.family {
        Family::V4 => {
            addresses.ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: word(&event.source, 0),
                daddr: word(&event.destination, 0),
                sport: event.source_port.to_be(),
                dport: event.destination_port.to_be(),
            };
            size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>()
        }
        Family::V6 => {
            addresses.ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
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
    // the reference is released on every path. TCP: the request socket of a half-open connection
    // must be found as such (kernel 5.2), as the listener would not recognise its packet.
    unsafe {
        let socket = match event.protocol {
            ProtocolClass::Tcp => {
                bpf_skc_lookup_tcp(skb.cast(), tuple.as_mut_ptr(), size as u32, netns, 0)
            }
            ProtocolClass::Udp => {
                bpf_sk_lookup_udp(skb.cast(), tuple.as_mut_ptr(), size as u32, netns, 0)
            }
            ProtocolClass::Icmp | ProtocolClass::Other => return false,
        };
        if socket.is_null() {
            return false;
        }
        let assigned = bpf_sk_assign(skb.cast(), socket.cast(), 0);
        bpf_sk_release(socket.cast());
        assigned == 0 && owns_egress(skb)
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
