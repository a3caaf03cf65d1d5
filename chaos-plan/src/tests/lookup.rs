//! The compiled tables against a matcher written straight from the fault model.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use chaos_ebpf_common::{
    event::{Address, Event, EventKind, Family, FileId, ProtocolClass, widen},
    gate::{self, Env, Grant, Verdict},
    ledger::Count,
    rule::{Rule, RuleSet},
    tables::{Ends, SET_BITS},
};
use chaos_fault::{Call, Direction, Except, Peer, PortRange, Protocol, Side, Verb};
use ipnet::IpNet;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::{Index, select, subsequence},
};

use super::*;

/// The tries as plain lists, searched like the kernel does.
struct Tables {
    set: RuleSet,
    peers4: Vec<(u32, u32, Vec<u8>, Ends)>,
    peers6: Vec<(u32, u32, Vec<u8>, Ends)>,
    ports: Vec<(u32, u32, Vec<u8>, Ends)>,
    calls: BTreeMap<u16, u64>,
}

impl Tables {
    /// The set in force beside another one, as after an edit.
    fn new(set: CompiledSet, other: CompiledSet) -> Self {
        let mut tables = Self {
            set: set.set,
            peers4: Vec::new(),
            peers6: Vec::new(),
            ports: Vec::new(),
            calls: set.calls.clone(),
        };
        for compiled in [set, other] {
            let peers4 = compiled.peers4.into_iter();
            tables
                .peers4
                .extend(peers4.map(|(bits, k, ends)| (bits, k.set, k.address.into(), ends)));
            let peers6 = compiled.peers6.into_iter();
            tables
                .peers6
                .extend(peers6.map(|(bits, k, ends)| (bits, k.set, k.address.into(), ends)));
            let ports = compiled.ports.into_iter();
            tables.ports.extend(ports.map(|(bits, k, ends)| (bits, k.set, k.port.into(), ends)));
        }
        tables
    }
}

/// What `trie_lookup_elem` returns: the entry of the longest prefix that covers the key.
fn longest(trie: &[(u32, u32, Vec<u8>, Ends)], set: u32, key: &[u8]) -> Ends {
    let covers = |bits: u32, prefix: &[u8]| {
        let bit = |bytes: &[u8], n: u32| bytes[n as usize / 8] >> (7 - n % 8) & 1;
        (0..bits - SET_BITS).all(|n| bit(prefix, n) == bit(key, n))
    };
    let covering = trie.iter().filter(|(bits, of, prefix, _)| *of == set && covers(*bits, prefix));
    covering.max_by_key(|(bits, ..)| *bits).map_or(Ends::NONE, |(.., ends)| *ends)
}

impl Env for Tables {
    fn set(&self, _id: u32) -> Option<&RuleSet> {
        Some(&self.set)
    }
    fn rule(&self, _place: u32) -> Option<&Rule> {
        None
    }
    fn peer(&self, set: u32, family: Family, address: &Address) -> Ends {
        match family {
            Family::None => Ends::NONE,
            Family::V4 => longest(&self.peers4, set, &address[..4]),
            Family::V6 => longest(&self.peers6, set, address),
        }
    }
    fn port(&self, set: u32, port: u16) -> Ends {
        longest(&self.ports, set, &port.to_be_bytes())
    }
    fn calls(&self, _set: u32, number: u16) -> u64 {
        self.calls.get(&number).copied().unwrap_or(0)
    }
    fn paths(&self, _set: u32, _file: &FileId) -> u64 {
        0
    }
    fn now(&self) -> u64 {
        0
    }
    fn lease(&self) -> u64 {
        0
    }
    fn ordinal(&self, _rule: &Rule) -> Option<(u64, bool)> {
        None
    }
    fn flow_number(&self, _rule: &Rule, _flow: u64) -> Option<u32> {
        None
    }
    fn grant(&self, _rule: &Rule, _now: u64) -> Grant {
        Grant::Spent
    }
    fn count(&self, _slot: u32, _count: Count) {}
    fn emit(&self, _event: &Event, _verdict: &Verdict, _shadow: bool) {}
}

/// Whether the event meets every condition of the fault.
fn meets(fault: &Fault, exempt: &[IpAddr], event: &Event) -> bool {
    kinds(fault).contains(&event.kind)
        && (event.kind != EventKind::Call || numbers(fault).contains(&event.call))
        && protocol_fits(fault, event.protocol)
        && fault.peer.as_ref().is_none_or(|peer| peer_fits(peer, event))
        && !fault.except.as_ref().is_some_and(|except| is_left_alone(except, event))
        && !exempt.iter().any(|address| {
            let named = fault.peer.as_ref().is_some_and(|peer| {
                peer.networks
                    .iter()
                    .any(|net| net.addr() == *address && net.prefix_len() == net.max_prefix_len())
            });
            !named && [source(event), destination(event)].contains(&Some(*address))
        })
}

fn is_left_alone(except: &Except, event: &Event) -> bool {
    let ports = [event.source_port, event.destination_port];
    let is_of = |address: Option<IpAddr>| {
        address.is_some_and(|address| except.networks.iter().any(|net| net.contains(&address)))
    };
    // Of a fragment nobody knows the ports.
    let has_no_ports =
        ports == [0, 0] && matches!(event.protocol, ProtocolClass::Tcp | ProtocolClass::Udp);
    is_of(source(event))
        || is_of(destination(event))
        || except.ports.iter().any(|range| {
            has_no_ports || ports.iter().any(|port| (range.first..=range.last).contains(port))
        })
}

fn kinds(fault: &Fault) -> Vec<EventKind> {
    let directed = |egress, ingress| {
        let kind = |direction: &Direction| match direction {
            Direction::Egress => egress,
            Direction::Ingress => ingress,
        };
        fault.directions().iter().map(kind).collect()
    };
    match &fault.verb {
        Verb::Drop => directed(EventKind::PacketEgress, EventKind::PacketIngress),
        Verb::Corrupt { .. } => directed(EventKind::FrameEgress, EventKind::FrameIngress),
        Verb::Fail { calls, .. } => calls
            .iter()
            .map(|call| match call.name() {
                "connect" => EventKind::Connect,
                "bind" => EventKind::Bind,
                "socket" => EventKind::Socket,
                "setsockopt" => EventKind::SetSockopt,
                "getsockopt" => EventKind::GetSockopt,
                "read" | "fsync" => EventKind::Call,
                _ => EventKind::SendTo,
            })
            .collect(),
        verb => panic!("{verb:?} is not drawn"),
    }
}

/// x86-64 numbers of the calls that no cgroup hook answers.
fn numbers(fault: &Fault) -> Vec<u16> {
    let of = |call: &Call| match call.name() {
        // read, pread64, readv, preadv, preadv2
        "read" => vec![0, 17, 19, 295, 327],
        // fsync, fdatasync
        "fsync" => vec![74, 75],
        _ => Vec::new(),
    };
    fault.verb.calls().iter().flat_map(of).collect()
}

fn protocol_fits(fault: &Fault, class: ProtocolClass) -> bool {
    match fault.protocol {
        Some(Protocol::Tcp) => class == ProtocolClass::Tcp,
        Some(Protocol::Udp) => class == ProtocolClass::Udp,
        Some(Protocol::Icmp) => class == ProtocolClass::Icmp,
        None => {
            fault.verb != Verb::Corrupt { silent: true }
                || matches!(class, ProtocolClass::Tcp | ProtocolClass::Udp)
        }
    }
}

fn peer_fits(peer: &Peer, event: &Event) -> bool {
    let network = |address: Option<IpAddr>| {
        peer.networks.is_empty()
            || address.is_some_and(|a| peer.networks.iter().any(|net| net.contains(&a)))
    };
    let port = |port: u16| {
        let has_ports = matches!(event.protocol, ProtocolClass::Tcp | ProtocolClass::Udp);
        peer.ports.is_empty()
            || has_ports
                && peer.ports.iter().any(|range| (range.first..=range.last).contains(&port))
    };
    match peer.side {
        Side::To => network(destination(event)) && port(event.destination_port),
        Side::From => network(source(event)) && port(event.source_port),
        Side::Either => port(event.source_port) || port(event.destination_port),
    }
}

fn source(event: &Event) -> Option<IpAddr> {
    address(event.family, event.source)
}

fn destination(event: &Event) -> Option<IpAddr> {
    address(event.family, event.destination)
}

fn address(family: Family, bytes: Address) -> Option<IpAddr> {
    match family {
        Family::None => None,
        Family::V4 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        Family::V6 => Some(Ipv6Addr::from(bytes).into()),
    }
}

/// Few addresses, close to each other, so that prefixes of them nest and meet.
fn some_v4() -> impl Strategy<Value = Ipv4Addr> {
    let known = ["0.0.0.0", "10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.0", "255.255.255.255"];
    let known = known.map(|text| text.parse::<Ipv4Addr>().unwrap());
    prop_oneof![4 => select(known.to_vec()), 1 => any::<u32>().prop_map(Ipv4Addr::from_bits)]
}

fn some_v6() -> impl Strategy<Value = Ipv6Addr> {
    let known = ["::", "::1", "fd00::", "fd00::1", "fd00:0:0:1::", "fd00::1:0:0:0:1", "ff02::1"];
    let known = known.map(|text| text.parse::<Ipv6Addr>().unwrap());
    // The highest bit set: never a mapped IPv4 address.
    let random = any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits | 1 << 127));
    prop_oneof![4 => select(known.to_vec()), 1 => random]
}

fn some_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![some_v4().prop_map(IpAddr::from), some_v6().prop_map(IpAddr::from)]
}

fn some_network() -> impl Strategy<Value = IpNet> {
    let shorter =
        prop_oneof![2 => Just(0), 2 => select(vec![1, 2, 8, 16, 24, 32]), 1 => 0_u8..=128];
    (some_address(), shorter).prop_map(|(address, shorter)| {
        let whole = IpNet::from(address);
        let length = whole.max_prefix_len().saturating_sub(shorter);
        IpNet::new(address, length).unwrap().trunc()
    })
}

fn some_ports() -> impl Strategy<Value = Vec<PortRange>> {
    let first = prop_oneof![
        3 => select(vec![1_u16, 2, 53, 80, 443, 1023, 1024, 32_768, 65_534, 65_535]),
        1 => 1_u16..,
    ];
    let more = prop_oneof![Just(0_u16), 1_u16..4, Just(1024), any::<u16>()];
    vec((first, more), 0..4).prop_map(|mut ranges| {
        ranges.sort_unstable();
        let mut apart: Vec<PortRange> = Vec::new();
        for (first, more) in ranges {
            if apart.last().is_none_or(|range| range.last < first.saturating_sub(1)) {
                apart.push(PortRange { first, last: first.saturating_add(more) });
            }
        }
        apart
    })
}

fn some_peer() -> impl Strategy<Value = Peer> {
    let side = select(vec![Side::To, Side::From, Side::Either]);
    (side, btree_set(some_network(), 0..4), some_ports()).prop_map(|(side, networks, ports)| Peer {
        pods: Default::default(),
        names: Default::default(),
        side,
        networks: if side == Side::Either { BTreeSet::new() } else { networks },
        ports,
    })
}

fn some_except() -> impl Strategy<Value = Except> {
    (btree_set(some_network(), 0..3), some_ports(), any::<bool>()).prop_map(
        |(networks, ports, is_ports)| match is_ports {
            true => Except { ports, ..Except::default() },
            false => Except { networks, ..Except::default() },
        },
    )
}

fn some_verb() -> impl Strategy<Value = Verb> {
    let names = vec![
        "connect",
        "bind",
        "sendto",
        "sendmmsg",
        "socket",
        "setsockopt",
        "getsockopt",
        "read",
        "fsync",
    ];
    let fail = subsequence(names, 1..4).prop_map(|names| Verb::Fail {
        calls: names.into_iter().map(|name| Call::from_name(name).unwrap()).collect(),
        errnos: match fault("fail bind with EIO").verb {
            Verb::Fail { errnos, .. } => errnos,
            verb => panic!("{verb:?}"),
        },
    });
    prop_oneof![
        2 => Just(Verb::Drop),
        1 => any::<bool>().prop_map(|silent| Verb::Corrupt { silent }),
        2 => fail,
    ]
}

fn some_fault() -> impl Strategy<Value = Fault> {
    let direction = option::of(select(vec![Direction::Egress, Direction::Ingress]));
    let protocol = option::of(select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Icmp]));
    let peer = option::weighted(0.8, some_peer());
    let except = option::weighted(0.3, some_except());
    (some_verb(), direction, protocol, peer, except)
        .prop_map(|(verb, direction, protocol, peer, except)| {
            let direction = direction.filter(|_| verb.acts_on_packets());
            Fault { direction, protocol, peer, except, ..Fault::new(verb) }
        })
        .prop_filter("well formed", |fault| chaos_fault::check(fault).is_empty())
}

/// An event whose addresses and ports are still to be picked from those that matter.
#[derive(Debug, Clone)]
struct Sketch {
    kind: EventKind,
    protocol: ProtocolClass,
    family: Family,
    call: u16,
    ends: [(Index, Index); 2],
}

fn some_sketch() -> impl Strategy<Value = Sketch> {
    use ProtocolClass::{Icmp, Other, Tcp, Udp};
    (
        select(EventKind::ALL.to_vec()),
        select(vec![Tcp, Tcp, Udp, Udp, Icmp, Other]),
        select(vec![Family::V4, Family::V4, Family::V6, Family::V6, Family::None]),
        select(vec![0, 1, 9, 74, 75, 327, 511, 512, u16::MAX]),
        any::<[(Index, Index); 2]>(),
    )
        .prop_map(|(kind, protocol, family, call, ends)| Sketch {
            kind,
            protocol,
            family,
            call,
            ends,
        })
}

/// What lies on, just inside and just outside the boundaries of the faults.
#[derive(Default)]
struct Boundaries {
    v4: BTreeSet<Ipv4Addr>,
    v6: BTreeSet<Ipv6Addr>,
    ports: BTreeSet<u16>,
}

impl Boundaries {
    fn of(faults: &[Fault], exempt: &[IpAddr]) -> Self {
        let mut found = Self {
            v4: BTreeSet::from([Ipv4Addr::UNSPECIFIED]),
            v6: BTreeSet::from([Ipv6Addr::UNSPECIFIED]),
            ports: BTreeSet::from([0, 1, u16::MAX]),
        };
        let peers = || faults.iter().filter_map(|fault| fault.peer.as_ref());
        let excepts = || faults.iter().filter_map(|fault| fault.except.as_ref());
        let networks = peers().flat_map(|peer| peer.networks.iter().copied());
        let networks = networks.chain(excepts().flat_map(|except| except.networks.iter().copied()));
        for network in networks.chain(exempt.iter().copied().map(IpNet::from)) {
            match network {
                IpNet::V4(net) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    let near = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                    found.v4.extend(near.map(Ipv4Addr::from_bits));
                }
                IpNet::V6(net) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    let near = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                    found.v6.extend(near.map(Ipv6Addr::from_bits));
                }
            }
        }
        let ports = excepts().flat_map(|except| &except.ports);
        for range in peers().flat_map(|peer| &peer.ports).chain(ports) {
            let near = [range.first.wrapping_sub(1), range.first, range.last];
            found.ports.extend(near.into_iter().chain([range.last.wrapping_add(1)]));
        }
        found
    }

    fn event(&self, sketch: &Sketch) -> Event {
        let [source, destination] = sketch.ends.map(|(address, port)| {
            let address = match sketch.family {
                Family::None => [0; 16],
                Family::V4 => widen(pick(&self.v4, address).octets()),
                Family::V6 => pick(&self.v6, address).octets(),
            };
            (address, pick(&self.ports, port))
        });
        Event {
            source: source.0,
            destination: destination.0,
            source_port: source.1,
            destination_port: destination.1,
            family: sketch.family,
            call: sketch.call,
            ..Event::bare(sketch.kind, sketch.protocol)
        }
    }
}

fn pick<T: Copy>(from: &BTreeSet<T>, index: Index) -> T {
    from.iter().copied().nth(index.index(from.len())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn tables_say_what_the_faults_say(
        faults in vec(some_fault(), 1..=64),
        exempt in vec(some_address(), 0..3),
        sketches in vec(some_sketch(), 32),
    ) {
        let terms = Terms { exempt: exempt.clone(), ..Terms::default() };
        let mut rules = plan_all(&faults, &terms).rules;
        let slots: Vec<u32> = (0..).take(rules.len()).collect();
        let began = vec![0; rules.len()];
        let set = compile(&rules, &slots, 1, &began);
        let in_force = rules.clone();
        rules.reverse();
        let tables = Tables::new(set, compile(&rules, &slots, 0, &began));
        let boundaries = Boundaries::of(&faults, &exempt);
        for sketch in &sketches {
            let event = boundaries.event(sketch);
            let expected = in_force
                .iter()
                .enumerate()
                .filter(|(_, rule)| meets(&rule.fault, &exempt, &event))
                .fold(0, |mask, (bit, _)| mask | 1 << bit);
            let found = gate::matching(&tables, &tables.set, &event);
            prop_assert_eq!(found, expected, "{:?}", event);
        }
    }
}
