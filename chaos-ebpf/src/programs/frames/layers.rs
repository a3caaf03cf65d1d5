//! Tells whether a frame is asked about at this interface, and not at one above it or below it.
//!
//! Frames hold the addresses of their interface and of their route. Both are read as
//! [`crate::socket_owner`] reads sockets.

use aya_ebpf::{Global, bindings::__sk_buff};
use chaos_ebpf_common::{
    event::EventKind,
    layers::{Arriving, Leaving},
};

use crate::kernel_memory::{address_of, read};

/// Whether the offsets below are known (1): one of them is 0 on some kernels.
#[unsafe(no_mangle)]
static LAYERS_KNOWN: Global<u32> = Global::new(0);
/// Where the kernel's structs have these fields, in bytes, from its type information: `sk_buff.dev`,
/// `.sk`, `._skb_refdst`, `.inner_protocol`.
#[unsafe(no_mangle)]
static FRAME_DEVICE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FRAME_SOCKET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FRAME_ROUTE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FRAME_INNER: Global<u32> = Global::new(0);
/// `dst_entry.dev`.
#[unsafe(no_mangle)]
static ROUTE_DEVICE: Global<u32> = Global::new(0);
/// `sock_common.skc_family`.
#[unsafe(no_mangle)]
static SOCKET_FAMILY: Global<u32> = Global::new(0);
/// `net_device.adj_list`, which begins with the list of the interfaces right above; `.flags` and
/// `.priv_flags`.
#[unsafe(no_mangle)]
static DEVICE_ABOVE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEVICE_FLAGS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEVICE_PRIVATE_FLAGS: Global<u32> = Global::new(0);
/// Those of the private flags that ports have whose frames all go to another interface.
#[unsafe(no_mangle)]
static PORT_FLAGS: Global<u32> = Global::new(0);

/// The same among the others, of bonds (`include/uapi/linux/if.h`).
const IFF_SLAVE: u32 = 0x800;
/// `include/linux/socket.h`.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// What Ethernet frames in a tunnel are called (`include/uapi/linux/if_ether.h`).
const ETH_P_TEB: u16 = 0x6558_u16.to_be();
/// The lowest bits of a route's address say that it is not held (`SKB_DST_NOREF`).
const ROUTE: u64 = !7;
/// Of a VLAN tag.
const VLAN_NUMBER: u16 = 0xfff;

/// Whether the frame is asked about here.
#[inline(always)]
pub fn ask_here(skb: *mut __sk_buff, kind: EventKind) -> bool {
    chaos_layers(skb, kind as u32) != 0
}

/// Kernels that do not let themselves be read refuse a program that would, so nothing is read where the
/// offsets are not known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_layers(skb: *mut __sk_buff, kind: u32) -> u32 {
    if vlan(skb) != 0 && kind == EventKind::FrameIngress as u32 {
        return 0;
    }
    if LAYERS_KNOWN.load() == 0 {
        return 1;
    }
    // The context of a program is the frame itself.
    let frame = address_of(&skb);
    let interface = read(frame + FRAME_DEVICE.load() as u64);
    if interface == 0 {
        return 1;
    }
    if kind == EventKind::FrameEgress as u32 {
        leaving(frame, interface).is_asked() as u32
    } else {
        Arriving { vlan: vlan(skb), is_port: is_port(interface) }.is_asked() as u32
    }
}

#[inline(always)]
fn leaving(frame: u64, interface: u64) -> Leaving {
    let route = read::<u64>(frame + FRAME_ROUTE.load() as u64) & ROUTE;
    let routed_to = if route == 0 { 0 } else { read(route + ROUTE_DEVICE.load() as u64) };
    let above = interface + DEVICE_ABOVE.load() as u64;
    let socket: u64 = read(frame + FRAME_SOCKET.load() as u64);
    let family: u16 = read(socket + SOCKET_FAMILY.load() as u64);
    Leaving {
        interface,
        routed_to,
        // An empty list leads back to itself.
        carries: read::<u64>(above) != above,
        encloses_frame: read::<u16>(frame + FRAME_INNER.load() as u64) == ETH_P_TEB,
        is_routed: family == AF_INET || family == AF_INET6,
    }
}

/// Whether all that arrives at the interface goes to another one.
#[inline(always)]
fn is_port(interface: u64) -> bool {
    let flags: u32 = read(interface + DEVICE_FLAGS.load() as u64);
    let private: u32 = read(interface + DEVICE_PRIVATE_FLAGS.load() as u64);
    flags & IFF_SLAVE != 0 || private & PORT_FLAGS.load() != 0
}

/// Number of the VLAN in the frame's tag, or 0.
#[inline(always)]
fn vlan(skb: *mut __sk_buff) -> u16 {
    // SAFETY: reading the program's context.
    let (is_tagged, tag) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
    if is_tagged == 0 { 0 } else { tag as u16 & VLAN_NUMBER }
}
