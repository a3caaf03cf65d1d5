//! Frames, byte by byte, with right checksums.

use std::{collections::BTreeMap, sync::LazyLock};

/// Length of an Ethernet header.
pub const LINK: usize = 14;

const V4_SOURCE: [u8; 4] = [10, 0, 0, 1];
const V4_DESTINATION: [u8; 4] = [10, 0, 0, 2];
const SOURCE_PORT: u16 = 40_000;

/// Where in its header a protocol has its checksum.
pub static TRANSPORT_CHECKSUM: LazyLock<BTreeMap<u8, usize>> =
    LazyLock::new(|| BTreeMap::from([(6, 16), (17, 6)]));

fn v6_address(host: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[15]) = (0xfd, host);
    address
}

/// A frame without tags.
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    tagged(&[], ethertype, payload)
}

/// A frame with VLAN tags of these kinds, the outermost first.
pub fn tagged(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; LINK - 2];
    for (id, tag) in (7u16..).zip(tags) {
        frame.extend(tag.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What is special about an IP packet.
#[derive(Clone, Default)]
pub struct Ip {
    /// Bytes of IPv4 options, a multiple of 4 up to 40.
    pub options: usize,
    /// Flags and offset as they stand in the header; IPv6 gets a fragment header.
    pub fragment: Option<u16>,
    /// IPv6 extension headers in front of the fragment header.
    pub extensions: Vec<u8>,
}

impl Ip {
    pub fn v4(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        let header = 20 + self.options;
        let mut packet = vec![1; header];
        packet[0] = 0x40 | (header / 4) as u8;
        packet[2..4].copy_from_slice(&((header + segment.len()) as u16).to_be_bytes());
        packet[6..8].copy_from_slice(&self.fragment.unwrap_or(0).to_be_bytes());
        packet[9] = protocol;
        packet[10..12].fill(0);
        packet[12..16].copy_from_slice(&V4_SOURCE);
        packet[16..20].copy_from_slice(&V4_DESTINATION);
        let checksum = !sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(summed(protocol, segment, &[V4_SOURCE, V4_DESTINATION].concat()));
        packet
    }

    pub fn v6(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        let mut kinds = self.extensions.clone();
        kinds.extend(self.fragment.map(|_| 44));
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        let mut next = kinds.iter().skip(1).copied().chain([protocol]);
        packet[6] = kinds.first().copied().unwrap_or(protocol);
        packet[8..24].copy_from_slice(&v6_address(1));
        packet[24..40].copy_from_slice(&v6_address(2));
        for kind in &kinds {
            let next = next.next().unwrap_or(protocol);
            match kind {
                44 => {
                    let [high, low] = self.fragment.unwrap_or(0).to_be_bytes();
                    packet.extend([next, 0, high, low, 0, 0, 0, 9]);
                }
                // RFC 4302: its length counts words of four bytes, less two.
                51 => packet.extend([next, 4].into_iter().chain([0; 22])),
                // RFC 8200: words of eight bytes, less one; PadN fills.
                _ => packet.extend([next, 0, 1, 4, 0, 0, 0, 0]),
            }
        }
        let addresses = [v6_address(1), v6_address(2)].concat();
        packet.extend(summed(protocol, segment, &addresses));
        let payload = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        packet
    }
}

/// A UDP datagram or a TCP segment, its checksum still zero.
#[derive(Clone)]
pub struct Segment {
    protocol: u8,
    destination_port: u16,
    /// Bytes of it.
    payload: usize,
}

impl Segment {
    pub fn udp(destination_port: u16) -> Self {
        // An odd length: the last byte is half a word.
        Self { protocol: 17, destination_port, payload: 37 }
    }

    pub fn tcp(destination_port: u16) -> Self {
        Self { protocol: 6, destination_port, payload: 37 }
    }

    pub fn without_payload(self) -> Self {
        Self { payload: 0, ..self }
    }

    /// Bytes of its header; TCP has a timestamp option.
    pub fn header(&self) -> usize {
        if self.protocol == 17 { 8 } else { 32 }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.header()];
        bytes[0..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        if self.protocol == 17 {
            let length = (self.header() + self.payload) as u16;
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
        } else {
            bytes[12] = ((self.header() / 4) << 4) as u8;
        }
        bytes.extend((0..self.payload).map(|number| number as u8));
        bytes
    }
}

/// The segment with its checksum over the pseudo header (RFC 768, 9293, 8200).
fn summed(protocol: u8, segment: &[u8], addresses: &[u8]) -> Vec<u8> {
    let mut bytes = segment.to_vec();
    if let Some(field) = TRANSPORT_CHECKSUM.get(&protocol).map(|at| *at..at + 2)
        && bytes.len() >= field.end
    {
        let length = (bytes.len() as u32).to_be_bytes();
        let pseudo = [addresses, &length, &[0, 0, 0, protocol]].concat();
        let whole = u32::from(sum(&pseudo)) + u32::from(sum(&bytes));
        let checksum = !((whole & 0xffff) + (whole >> 16)) as u16;
        bytes[field].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

/// The ones' complement sum of 16-bit words (RFC 1071); 0xffff over what has a right checksum.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from_be_bytes([0, 0, pair[0], *pair.get(1).unwrap_or(&0)]);
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
