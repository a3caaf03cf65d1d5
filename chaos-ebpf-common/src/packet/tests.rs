extern crate std;
use std::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

impl Bytes for [u8] {
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

struct Sample(Vec<u8>);

impl Bytes for Sample {
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0[..].read(offset)
    }
}

fn v4(protocol: u8, options: usize, fragment: u16, rest: &[u8]) -> Sample {
    let mut bytes = vec![0u8; 20 + options];
    bytes[0] = 0x40 | (5 + options / 4) as u8;
    bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
    bytes[9] = protocol;
    bytes[12..16].copy_from_slice(&[10, 0, 0, 1]);
    bytes[16..20].copy_from_slice(&[10, 0, 0, 2]);
    bytes.extend_from_slice(rest);
    Sample(bytes)
}

fn v6(next: u8, rest: &[u8]) -> Sample {
    let mut bytes = vec![0u8; 40];
    bytes[0] = 0x60;
    bytes[6] = next;
    bytes[8] = 0xfd;
    bytes[39] = 2;
    bytes.extend_from_slice(rest);
    Sample(bytes)
}

const PORTS: [u8; 4] = [0x9c, 0x40, 0x00, 0x35];

fn ports(packet: &Packet) -> (u16, u16) {
    (packet.event.source_port, packet.event.destination_port)
}

fn parse_egress(bytes: &Sample, ethertype: u16) -> Option<Packet> {
    parse(bytes, ethertype, EventKind::PacketEgress)
}

#[test]
fn ports_behind_ipv4_options() {
    for options in [0, 4, 40] {
        let packet = parse_egress(&v4(17, options, 0, &PORTS), ETHERTYPE_IPV4).unwrap();
        assert_eq!(ports(&packet), (40000, 53));
        assert_eq!(packet.transport, 20 + options as u32);
        assert_eq!(packet.event.protocol, ProtocolClass::Udp);
    }
}

#[test]
fn later_fragments_have_no_ports_and_first_ones_do() {
    let first = parse_egress(&v4(17, 0, 0x2000, &PORTS), ETHERTYPE_IPV4).unwrap();
    assert_eq!((ports(&first), first.event.fragment, first.fragmented), ((40000, 53), 0, 1));
    let later = parse_egress(&v4(17, 0, 0x2001, &PORTS), ETHERTYPE_IPV4).unwrap();
    assert_eq!((ports(&later), later.event.fragment, later.fragmented), ((0, 0), 1, 1));
    let whole = parse_egress(&v4(17, 0, 0x4000, &PORTS), ETHERTYPE_IPV4).unwrap();
    assert_eq!(
        (ports(&whole), whole.fragmented),
        ((40000, 53), 0),
        "don't-fragment is no fragment"
    );
}

#[test]
fn ports_behind_ipv6_extension_headers() {
    let hop_by_hop = [43, 0, 0, 0, 0, 0, 0, 0];
    let routing = [60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let destination = [6, 0, 0, 0, 0, 0, 0, 0];
    let rest = [&hop_by_hop[..], &routing, &destination, &PORTS].concat();
    let packet = parse_egress(&v6(0, &rest), ETHERTYPE_IPV6).unwrap();
    assert_eq!(packet.event.protocol, ProtocolClass::Tcp);
    assert_eq!(ports(&packet), (40000, 53));
    assert_eq!(packet.transport, 40 + 32);
}

#[test]
fn ipv6_fragments() {
    let first = [17, 0, 0, 1, 0, 0, 0, 9, 0x9c, 0x40, 0, 0x35];
    let packet = parse_egress(&v6(44, &first), ETHERTYPE_IPV6).unwrap();
    assert_eq!((ports(&packet), packet.event.fragment, packet.fragmented), ((40000, 53), 0, 1));
    let later = [17, 0, 0, 8, 0, 0, 0, 9, 0x9c, 0x40, 0, 0x35];
    let packet = parse_egress(&v6(44, &later), ETHERTYPE_IPV6).unwrap();
    assert_eq!((ports(&packet), packet.event.fragment), ((0, 0), 1));
}

#[test]
fn neighbour_discovery_is_not_ours_and_echo_is() {
    for message in 133..=137 {
        assert_eq!(parse_egress(&v6(58, &[message, 0, 0, 0]), ETHERTYPE_IPV6), None);
    }
    let echo = parse_egress(&v6(58, &[128, 0, 0, 0]), ETHERTYPE_IPV6).unwrap();
    assert_eq!(echo.event.protocol, ProtocolClass::Icmp);
}

#[test]
fn tags_are_looked_through() {
    let inner = v4(6, 0, 0, &PORTS).0;
    let one = Sample([&[0, 7, 8, 0][..], &inner].concat());
    let packet = parse_egress(&one, 0x8100).unwrap();
    assert_eq!((packet.network, ports(&packet)), (4, (40000, 53)));
    let two = Sample([&[0, 7, 0x81, 0, 0, 8, 8, 0][..], &inner].concat());
    assert_eq!(parse_egress(&two, 0x88a8).unwrap().network, 8);
    let three = Sample([&[0, 7, 0x81, 0, 0, 8, 0x81, 0, 0, 9, 8, 0][..], &inner].concat());
    assert_eq!(parse_egress(&three, 0x88a8), None);
}

#[test]
fn short_packets_say_less_and_never_something_else() {
    let full = v4(6, 0, 0, &PORTS).0;
    for length in 0..20 {
        assert_eq!(parse_egress(&Sample(full[..length].to_vec()), ETHERTYPE_IPV4), None);
    }
    for length in 20..24 {
        let packet = parse_egress(&Sample(full[..length].to_vec()), ETHERTYPE_IPV4).unwrap();
        assert_eq!((ports(&packet), packet.transport), ((0, 0), 0));
    }
    let bad_length = Sample(vec![0x44; 60]);
    assert_eq!(parse_egress(&bad_length, ETHERTYPE_IPV4), None, "header of 16 bytes");
    assert_eq!(parse_egress(&v4(6, 0, 0, &PORTS), ETHERTYPE_IPV6), None, "wrong version");
    assert_eq!(parse_egress(&v4(6, 0, 0, &PORTS), 0x0806), None, "ARP");
}

#[test]
fn mapped_addresses_become_ipv4() {
    let mut event = Event::bare(EventKind::Connect, ProtocolClass::Tcp);
    event.family = Family::V6;
    event.destination[10..12].copy_from_slice(&[0xff, 0xff]);
    event.destination[12..].copy_from_slice(&[127, 0, 0, 1]);
    normalise_v6(&mut event);
    assert_eq!((event.family, event.destination), (Family::V4, widen([127, 0, 0, 1])));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120), tag in any::<u16>()) {
        for ethertype in [ETHERTYPE_IPV4, ETHERTYPE_IPV6, 0x8100, tag] {
            if let Some(packet) = parse_egress(&Sample(bytes.clone()), ethertype)
                && packet.event.source_port != 0
            {
                let at = packet.transport as usize;
                let read = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
                prop_assert_eq!(read, packet.event.source_port);
            }
        }
    }
}
