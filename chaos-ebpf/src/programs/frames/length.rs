//! How long a frame is on the wire.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::packet::Bytes;

use super::{FrameBytes, LINK_HEADER};
use crate::bytes::SkbBytes;

/// What the frame takes of a line: as queueing disciplines count, with the headers of each of the
/// segments that it is made of.
#[inline(always)]
pub fn on_wire(skb: *mut __sk_buff, ingress: bool) -> u32 {
    // SAFETY: reading the program's context.
    let (length, counted, segments) =
        unsafe { ((*skb).len, (*skb).wire_len, (*skb).gso_segs & 0xffff) };
    // On its way out the kernel has counted them (`qdisc_pkt_len_init`), on its way in it has not.
    if ingress && segments > 1 {
        length + (segments - 1) * chaos_headers(skb)
    } else if counted > length {
        counted
    } else {
        length
    }
}

/// Bytes of the headers of a segment, 0 where they are not known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_headers(skb: *mut __sk_buff) -> u32 {
    const TCP: u8 = 6;
    const UDP_HEADER: u32 = 8;
    let bytes: FrameBytes = SkbBytes(skb);
    let network = match bytes.ethertype() {
        0x0800 => bytes
            .read::<1>(0)
            .zip(bytes.read::<1>(9))
            .map(|([first], next)| ((first & 15) as u32 * 4, next)),
        0x86dd => bytes.read::<1>(6).map(|next| (40, next)),
        _ => None,
    };
    let Some((network, [next])) = network else {
        return 0;
    };
    let transport = if next == TCP {
        bytes.read::<1>(network + 12).map_or(0, |[offset]| (offset >> 4) as u32 * 4)
    } else {
        UDP_HEADER
    };
    LINK_HEADER + network + transport
}
