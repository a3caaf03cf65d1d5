//! Finds out what NAT in a target's network namespace makes of the addresses that faults on packets name.
//!
//! Packets are matched behind it, so a fault by an address in front of it matches nothing. Connections that
//! the namespace has seen tell (`/proc/PID/net/nf_conntrack`, CONFIG_NF_CONNTRACK_PROCFS, which
//! distributions have).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chaos_ebpf_common::dns;
use chaos_fault::{Direction, Fault, Peer, Protocol, Side};

use crate::cgroup::Cgroup;

/// How often connections are looked at while a fault matches nothing.
const INTERVAL: Duration = Duration::from_secs(5);

/// Namespaces of a target that are looked at, and how much of each one's connections.
const MOST_NAMESPACES: usize = 4;
const MOST_BYTES: u64 = 1 << 20;

/// Addresses of one fault that are told of.
const MOST_TOLD: usize = 3;

/// What was found out, by the ledger slot of the rule.
#[derive(Debug, Default)]
pub(super) struct Translations {
    told: BTreeMap<u32, String>,
    looked_at: Option<Instant>,
}

impl Translations {
    /// Whether the last look was long enough ago.
    pub(super) fn is_due(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= INTERVAL)
    }

    /// Looks at connections for these faults, with the slots of their rules.
    pub(super) fn look(&mut self, cgroup: &Cgroup, faults: &[(u32, &Fault)]) {
        self.looked_at = Some(Instant::now());
        self.told.clear();
        if faults.is_empty() {
            return;
        }
        let translated = translated(cgroup);
        for (slot, fault) in faults {
            let found = destinations(&translated, fault);
            self.told.extend(tell(&found).map(|told| (*slot, told)));
        }
    }

    /// Has the next look find everything anew, as other faults are in force.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What is to be known of the rule with this slot.
    pub(super) fn of(&self, slot: u32) -> Option<&str> {
        self.told.get(&slot).map(String::as_str)
    }

    /// All of it.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.told.values().map(String::as_str)
    }
}

/// Whether NAT can hide packets from the fault.
pub(super) fn can_hide(fault: &Fault) -> bool {
    hidden_end(fault).is_some()
}

/// The end of the traffic by which the fault names what leaves.
fn hidden_end(fault: &Fault) -> Option<&Peer> {
    let peer = fault.peer.as_ref().filter(|peer| peer.side != Side::From)?;
    let leaves = fault.directions().contains(&Direction::Egress);
    (fault.verb.acts_on_packets() && leaves).then_some(peer)
}

/// What was sent from a network namespace to one address and goes to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Translated {
    is_tcp: bool,
    sent_to: SocketAddr,
    goes_to: SocketAddr,
}

/// What is translated in the target's network namespaces; in this process's own where the target is over. Each table is
/// read once, however many faults there are: a target makes it as long as it likes.
fn translated(cgroup: &Cgroup) -> BTreeSet<Translated> {
    let mut namespaces = BTreeSet::<PathBuf>::new();
    let mut translated = BTreeSet::new();
    let processes = cgroup.processes().unwrap_or_default();
    let mut names: Vec<String> = processes.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        names.push("self".to_owned());
    }
    for process in names {
        let process = Path::new("/proc").join(process);
        if namespaces.len() == MOST_NAMESPACES {
            break;
        }
        // It has ended meanwhile, or its namespace has no connections that are tracked.
        let Ok(namespace) = fs::read_link(process.join("ns/net")) else { continue };
        if !namespaces.insert(namespace) {
            continue;
        }
        let mut table = String::new();
        let read = File::open(process.join("net/nf_conntrack"))
            .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut table));
        if read.is_ok() {
            // What was cut off may be half a number.
            table.truncate(table.rfind('\n').map_or(0, |end| end + 1));
            translated.extend(translated_in(&table, &own_addresses(&process)));
        }
    }
    translated
}

/// Those of a table, one connection a line, that were sent from the namespace with these addresses.
fn translated_in(table: &str, own: &BTreeSet<IpAddr>) -> BTreeSet<Translated> {
    let of_line = |line| {
        let (protocol, sent_by, sent_to, goes_to) = connection(line)?;
        let is_tcp = protocol == Protocol::Tcp;
        let is_question = !is_tcp && sent_to == SocketAddr::from((dns::EMBEDDED_SERVER, dns::PORT));
        let is_meant = sent_to != goes_to && !is_question && own.contains(&sent_by);
        is_meant.then_some(Translated { is_tcp, sent_to, goes_to })
    };
    table.lines().filter_map(of_line).collect()
}

/// The addresses of a process's network namespace (`/proc/PID/net/fib_trie`, `if_inet6`).
fn own_addresses(process: &Path) -> BTreeSet<IpAddr> {
    let read = |name: &str| fs::read_to_string(process.join("net").join(name)).unwrap_or_default();
    let (v4, v6) = (read("fib_trie"), read("if_inet6"));
    local_v4(&v4).chain(v6.lines().filter_map(address_v6)).collect()
}

/// An address stands above the line that says what it is.
fn local_v4(trie: &str) -> impl Iterator<Item = IpAddr> + use<> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found.into_iter()
}

fn address_v6(line: &str) -> Option<IpAddr> {
    let digits = line.split_whitespace().next()?;
    u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::from(bits.to_be_bytes()))
}

/// Where what is sent from here to an address that the fault names goes instead, to one that it does not
/// name.
fn destinations(all: &BTreeSet<Translated>, fault: &Fault) -> BTreeSet<(SocketAddr, SocketAddr)> {
    let Some(peer) = hidden_end(fault) else { return BTreeSet::new() };
    let is_hidden = |one: &&Translated| {
        let protocol = if one.is_tcp { Protocol::Tcp } else { Protocol::Udp };
        fault.protocol.is_none_or(|wanted| wanted == protocol)
            && names(peer, one.sent_to)
            && !names(peer, one.goes_to)
    };
    let hidden = all.iter().filter(is_hidden).map(|one| (one.sent_to, one.goes_to));
    hidden.take(MOST_TOLD).collect()
}

/// The protocol of a connection, who sent its first packet, where to, and where its answers come from.
fn connection(line: &str) -> Option<(Protocol, IpAddr, SocketAddr, SocketAddr)> {
    let mut words = line.split_whitespace();
    let protocol = match words.nth(2)? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    // Each is there twice: as it was sent, and as it is answered.
    let (mut sources, mut destinations, mut ports) = ([None; 2], [None; 2], [None; 4]);
    for word in words {
        match word.split_once('=') {
            Some(("src", value)) => note(&mut sources, value),
            Some(("dst", value)) => note(&mut destinations, value),
            Some(("sport" | "dport", value)) => note(&mut ports, value),
            Some(_) | None => {}
        }
    }
    let end = |address: Option<&str>, port: Option<&str>| {
        Some(SocketAddr::new(address?.parse().ok()?, port?.parse().ok()?))
    };
    let [_, to_port, answers_port, _] = ports;
    let sent_by = sources[0]?.parse().ok()?;
    Some((protocol, sent_by, end(destinations[0], to_port)?, end(sources[1], answers_port)?))
}

/// Takes in a value where there is room for one more.
fn note<'a>(places: &mut [Option<&'a str>], value: &'a str) {
    if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
        *place = Some(value);
    }
}

fn names(peer: &Peer, end: SocketAddr) -> bool {
    let mut networks = peer.all_networks().peekable();
    let has_address = !peer.has_addresses() || networks.any(|network| network.contains(&end.ip()));
    let has_port = peer.ports.is_empty()
        || peer.ports.iter().any(|range| (range.first..=range.last).contains(&end.port()));
    has_address && has_port
}

fn tell(found: &BTreeSet<(SocketAddr, SocketAddr)>) -> Option<String> {
    let each = |(sent_to, goes_to): &(SocketAddr, SocketAddr)| {
        let (from, from_port) = (sent_to.ip(), sent_to.port());
        let (to, to_port) = (goes_to.ip(), goes_to.port());
        format!(
            "NAT in the target's network namespace has put {to} port {to_port} in for {from} port \
             {from_port} before packets are matched: write `to {to} port {to_port}`"
        )
    };
    let told: Vec<String> = found.iter().map(each).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use chaos_fault::parse;

    use super::*;

    const TABLE: &str = "\
ipv4     2 tcp      6 117 TIME_WAIT src=10.7.0.1 dst=10.96.0.10 sport=40000 dport=80 src=10.7.0.2 dst=10.7.0.1 sport=8081 dport=40000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 25 src=127.0.0.1 dst=127.0.0.11 sport=35000 dport=53 src=127.0.0.11 dst=127.0.0.1 sport=43217 dport=35000 mark=0 zone=0 use=2
ipv6     10 tcp      6 431999 ESTABLISHED src=fd00::1 dst=fd00::96 sport=5 dport=80 src=fd00::2 dst=fd00::1 sport=80 dport=5 [ASSURED] mark=0 zone=0 use=2
ipv4     2 tcp      6 117 ESTABLISHED src=192.0.2.1 dst=10.7.0.9 sport=40000 dport=80 src=10.7.0.2 dst=192.0.2.1 sport=8081 dport=40000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 icmp     1 29 src=10.7.0.1 dst=10.7.0.2 type=8 code=0 id=4 src=10.7.0.2 dst=10.7.0.1 type=0 code=0 id=4 mark=0 zone=0 use=2
";

    #[test]
    fn own_addresses_are_read() {
        const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 10.7.0.0/24 2 0 2
     |-- 10.7.0.0
        /24 link UNICAST
     |-- 10.7.0.2
        /32 host LOCAL
     |-- 10.7.0.255
        /32 link BROADCAST
";
        assert_eq!(local_v4(TRIE).collect::<Vec<_>>(), ["10.7.0.2".parse::<IpAddr>().unwrap()]);
        let line = "fd000200000000000000000000000002 02 40 00 80     eth0";
        assert_eq!(address_v6(line), Some("fd00:200::2".parse().unwrap()));
        assert!(own_addresses(Path::new("/proc/self")).contains(&"127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn of_a_long_table_only_what_is_translated_is_compared_with_faults() {
        let plain = |port: u16| {
            format!(
                "ipv4 2 tcp 6 9 ESTABLISHED src=10.7.0.1 dst=10.7.0.9 sport={port} dport=80 \
                 src=10.7.0.9 dst=10.7.0.1 sport=80 dport={port} use=2\n"
            )
        };
        let table: String = (1..5_000).map(plain).chain([TABLE.to_owned()]).collect();
        let own = ["10.7.0.1", "127.0.0.1", "fd00::1"].map(|own| own.parse().unwrap());
        assert_eq!(translated_in(&table, &own.into()).len(), 2);
        // What is cut off in the middle is nothing.
        assert_eq!(
            connection("ipv4 2 tcp 6 9 ESTABLISHED src=10.7.0.1 dst=10.7.0.9 sport=1"),
            None
        );
    }

    #[test]
    fn what_nat_hides_is_named() {
        let told = |text: &str| {
            let fault = parse(text).unwrap().remove(0).fault;
            let own = ["10.7.0.1", "127.0.0.1", "fd00::1"].map(|own| own.parse().unwrap());
            tell(&destinations(&translated_in(TABLE, &own.into()), &fault))
        };
        for (text, write) in [
            ("drop to 10.96.0.10 port 80", Some("`to 10.7.0.2 port 8081`")),
            ("drop to 10.96.0.0/16", Some("`to 10.7.0.2 port 8081`")),
            ("delay 1ms tcp to port 80", Some("10.7.0.2 port 8081 in for 10.96.0.10 port 80")),
            ("drop to fd00::96", Some("`to fd00::2 port 80`")),
            // By its port it is met.
            ("drop to fd00::/64 port 80", None),
            ("drop udp to 10.96.0.10", None),
            ("drop to 10.7.0.2", None),
            ("drop from 10.96.0.10", None),
            // Somebody else's, which is only sent on.
            ("drop to 10.7.0.9", None),
            // Known by its content.
            ("drop udp to port 53", None),
            // Calls are in front of NAT.
            ("fail connect with EIO to 10.96.0.10", None),
        ] {
            let told = told(text);
            match write {
                Some(write) => {
                    assert!(told.as_ref().is_some_and(|it| it.contains(write)), "{text}: {told:?}")
                }
                None => assert_eq!(told, None, "{text}"),
            }
        }
    }
}
