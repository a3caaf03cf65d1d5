//! Headers of a packet, read without trusting any length in them.
//!
//! IPv4 ([RFC 791]), IPv6 with its extension headers ([RFC 8200] §4), VLAN tags in the data.
//! What cannot be read to the end is reported as less, never as something else.
//!
//! [RFC 791]: https://www.rfc-editor.org/rfc/rfc791
//! [RFC 8200]: https://www.rfc-editor.org/rfc/rfc8200

use crate::event::{Event, EventKind, Family, ProtocolClass, mapped_v4, widen};

/// A packet's bytes, counted from its network header on (in a tagged frame, from the tag on).
pub trait Bytes {
    /// `N` bytes at `offset`, or `None` when the packet ends before.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// [`follow`] these bytes; the kernel makes a function of its own of it.
    #[inline(always)]
    fn follow(&self, next: u8, offset: u32) -> Chain
    where
        Self: Sized,
    {
        follow(self, next, offset)
    }
}

/// Where the extension headers of an IPv6 packet lead, packed into one register for the sake of
/// the kernel's function.
///
/// From the low end: offset of what comes behind them (32 bits), its protocol number (8), 1 for a
/// later fragment, 1 for any fragment, 1 where the packet ends before they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub u64);

impl Chain {
    #[inline(always)]
    fn offset(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    fn protocol(self) -> u8 {
        (self.0 >> 32) as u8
    }

    #[inline(always)]
    fn is_later(self) -> bool {
        self.0 >> 40 & 1 == 1
    }

    #[inline(always)]
    fn is_fragment(self) -> bool {
        self.0 >> 41 & 1 == 1
    }

    #[inline(always)]
    fn is_cut(self) -> bool {
        self.0 >> 42 & 1 == 1
    }
}

pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// VLAN tags that are looked through.
const MAX_TAGS: usize = 2;

/// IPv6 extension headers that are looked through; a packet with more is of "other" protocol.
const MAX_EXTENSIONS: usize = 6;

/// A packet as far as the gate and the actions need it. Offsets count as in [`Bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub event: Event,
    /// Of the IP header.
    pub network: u32,
    /// Of the transport header; 0 where it cannot be known (later fragments, short packets).
    pub transport: u32,
    /// 1 for any fragment, the first included.
    pub fragmented: u8,
}

/// Reads the headers. `None`: nothing that rules speak of (not IP, truncated, or neighbour
/// discovery, which is never touched, as ARP is not).
#[inline(always)]
pub fn parse<O: Bytes>(bytes: &O, ethertype: u16, kind: EventKind) -> Option<Packet> {
    let mut ethertype = ethertype;
    let mut network = 0u32;
    for _ in 0..MAX_TAGS {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        let tag: [u8; 4] = bytes.read(network)?;
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        network += 4;
    }
    match ethertype {
        ETHERTYPE_IPV4 => parse_v4(bytes, network, kind),
        ETHERTYPE_IPV6 => parse_v6(bytes, network, kind),
        _ => None,
    }
}

#[inline(always)]
fn parse_v4<O: Bytes>(bytes: &O, network: u32, kind: EventKind) -> Option<Packet> {
    let header: [u8; 20] = bytes.read(network)?;
    let header_length = ((header[0] & 0x0f) as u32) * 4;
    if header[0] >> 4 != 4 || header_length < 20 {
        return None;
    }
    let offset_and_flags = u16::from_be_bytes([header[6], header[7]]);
    let later = offset_and_flags & 0x1fff != 0;
    let protocol = ProtocolClass::of(header[9]);
    let mut packet = Packet {
        event: Event {
            source: widen([header[12], header[13], header[14], header[15]]),
            destination: widen([header[16], header[17], header[18], header[19]]),
            family: Family::V4,
            fragment: later as u8,
            ..Event::bare(kind, protocol)
        },
        network,
        transport: 0,
        fragmented: (offset_and_flags & 0x3fff != 0) as u8,
    };
    if !later {
        read_transport(bytes, network + header_length, &mut packet);
    }
    Some(packet)
}

#[inline(always)]
fn parse_v6<O: Bytes>(bytes: &O, network: u32, kind: EventKind) -> Option<Packet> {
    let header: [u8; 40] = bytes.read(network)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let chain = bytes.follow(header[6], network + 40);
    let (offset, next) = (chain.offset(), chain.protocol());
    let protocol = if chain.is_cut() { ProtocolClass::Other } else { ProtocolClass::of(next) };
    let mut packet = Packet {
        event: Event {
            source: copy16(&header, 8),
            destination: copy16(&header, 24),
            family: Family::V6,
            fragment: chain.is_later() as u8,
            ..Event::bare(kind, protocol)
        },
        network,
        transport: 0,
        fragmented: chain.is_fragment() as u8,
    };
    if !chain.is_cut() && !chain.is_later() {
        // Router and neighbour discovery, redirect (RFC 4861): without them IPv6 is not impaired
        // but cut.
        if next == 58
            && let Some([kind_of_message]) = bytes.read::<1>(offset)
            && (133..=137).contains(&kind_of_message)
        {
            return None;
        }
        read_transport(bytes, offset, &mut packet);
    }
    Some(packet)
}

/// Goes along the extension headers from `offset` on, the first of which is of kind `next`.
#[inline(always)]
pub fn follow<O: Bytes>(bytes: &O, next: u8, offset: u32) -> Chain {
    let mut next = next;
    let mut offset = offset;
    let mut later = false;
    let mut fragmented = false;
    let mut whole = true;
    for _ in 0..MAX_EXTENSIONS {
        // Hop-by-hop 0, routing 43, fragment 44, authentication 51, destination 60,
        // mobility 135, HIP 139, shim6 140.
        if !matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) || later {
            break;
        }
        let Some(extension) = bytes.read::<4>(offset) else {
            whole = false;
            break;
        };
        let length = if next == 44 {
            fragmented = true;
            later = u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0;
            8
        } else if next == 51 {
            (extension[1] as u32 + 2) * 4
        } else {
            (extension[1] as u32 + 1) * 8
        };
        next = extension[0];
        offset += length;
    }
    Chain(
        offset as u64
            | (next as u64) << 32
            | (later as u64) << 40
            | (fragmented as u64) << 41
            | (!whole as u64) << 42,
    )
}

#[inline(always)]
fn read_transport<O: Bytes>(bytes: &O, offset: u32, packet: &mut Packet) {
    if !matches!(packet.event.protocol, ProtocolClass::Tcp | ProtocolClass::Udp) {
        packet.transport = offset;
        return;
    }
    if let Some(ports) = bytes.read::<4>(offset) {
        packet.event.source_port = u16::from_be_bytes([ports[0], ports[1]]);
        packet.event.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
        packet.transport = offset;
    }
}

#[inline(always)]
fn copy16(header: &[u8; 40], at: usize) -> [u8; 16] {
    let mut address = [0; 16];
    for (to, from) in address.iter_mut().zip(header.iter().skip(at)) {
        *to = *from;
    }
    address
}

/// Addresses of a socket call, IPv4-mapped IPv6 addresses turned into the IPv4 that will be
/// spoken.
#[inline(always)]
pub fn normalise_v6(event: &mut Event) {
    if let Some(v4) = mapped_v4(&event.destination) {
        event.family = Family::V4;
        event.destination = widen(v4);
        event.source = match mapped_v4(&event.source) {
            Some(v4) => widen(v4),
            None => [0; 16],
        };
    } else if let Some(v4) = mapped_v4(&event.source) {
        event.family = Family::V4;
        event.source = widen(v4);
        event.destination = [0; 16];
    }
}

#[cfg(test)]
mod tests;
