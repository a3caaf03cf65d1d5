//! Which traffic a fault is about: addresses, ports, protocols, exemptions.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use chaos_plan::Terms;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{TcpReceive, TcpSend, UdpSend, UdpSink},
    victim::Victim,
};

use crate::{agent::Agent, pair::Pair};

/// Where the client sends to, by number.
const DESTINATIONS: [&str; 5] = [
    "10.200.0.2:1000",
    "10.200.0.2:2000",
    "10.200.0.66:1000",
    "[fd00:200::2]:1000",
    "[fd00:200::66]:2000",
];
const V4: [usize; 3] = [0, 1, 2];
const V6: [usize; 2] = [3, 4];
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

const PATIENCE: Duration = Duration::from_secs(10);

/// Datagrams to each destination for each fault.
const EACH: u64 = 10;

struct Network {
    pair: Pair,
    sinks: Vec<Victim<UdpSink>>,
    sent: u64,
    lost: [u64; DESTINATIONS.len()],
}

impl Network {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        pair.server_netns.ip("address add 10.200.0.66/24 dev eth0\n\
             address add fd00:200::66/64 dev eth0 nodad\n")?;
        pair.client_netns.ip(
            "neighbour replace 10.200.0.66 lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n\
             neighbour replace fd00:200::66 lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n",
        )?;
        let sinks = DESTINATIONS
            .iter()
            .map(|bind| Victim::start(UdpSink { bind: bind.parse()? }, pair.server()))
            .collect::<Result<_>>()?;
        Ok(Self { pair, sinks, sent: 0, lost: [0; DESTINATIONS.len()] })
    }

    /// Arms the client for `drop … egress` and the server for `drop … ingress`, sends to every
    /// destination, and compares what the ledger says was lost of each.
    fn check(&mut self, fault: &str, exempt: &[&str], hit: &[usize]) -> Result<()> {
        let Pair { claim, client_cgroup, server_cgroup, .. } = &self.pair;
        let at_the_server = fault.contains("ingress") || fault.contains("drop from");
        let target = if at_the_server { server_cgroup } else { client_cgroup };
        let exempt =
            exempt.iter().map(|address| address.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
        let mut agent = Agent::new(claim)?;
        agent.arm_on(target, fault, Terms { exempt, ..Terms::default() })?;
        let mut found = BTreeSet::new();
        let mut before = 0;
        for (number, to) in DESTINATIONS.iter().enumerate() {
            let sent = Victim::run(UdpSend::new(to.parse()?, EACH), self.pair.client())?.total();
            assert_eq!(sent.ok, EACH, "{fault}");
            let counts = agent.counts(target, 0)?;
            assert_eq!(counts.matched, counts.injected, "{fault}");
            match counts.injected - before {
                0 => {}
                EACH => drop(found.insert(number)),
                some => panic!("{fault}: {some} of {EACH} datagrams to {to} were hit"),
            }
            self.lost[number] += counts.injected - before;
            before = counts.injected;
        }
        self.sent += EACH;
        assert_eq!(found, hit.iter().copied().collect(), "{fault}");
        Ok(())
    }

    /// What arrived all in all is what the ledgers left over.
    fn reconcile(self) -> Result<()> {
        for ((sink, lost), to) in self.sinks.into_iter().zip(self.lost).zip(DESTINATIONS) {
            assert_eq!(sink.stop()?.received, self.sent - lost, "{to}");
        }
        Ok(())
    }
}

#[test]
fn peers_ports_and_protocols_are_told_apart() -> Result<()> {
    let mut network = Network::new()?;
    let faults: &[(&str, &[usize])] = &[
        ("drop to 10.0.0.0/8", &V4),
        ("drop to 10.200.0.66", &[2]),
        ("drop to 10.200.0.64/26", &[2]),
        ("drop to 10.200.0.0/26", &[0, 1]),
        ("drop to 0.0.0.0/0", &V4),
        ("drop to ::/0", &V6),
        ("drop to fd00:200::/122", &[3]),
        ("drop to fd00:200::66, 10.200.0.2 port 1000", &[0]),
        ("drop to fd00:200::66, 10.200.0.2 port 2000", &[1, 4]),
        ("drop to port 1000", &[0, 2, 3]),
        ("drop to port 999-1999", &[0, 2, 3]),
        ("drop to port 1001-65535", &[1, 4]),
        ("drop to 10.200.0.2 port 7, 1999-2001", &[1]),
        ("drop egress", &ALL),
        ("drop egress udp", &ALL),
        ("drop egress tcp", &[]),
        ("drop egress icmp", &[]),
        ("drop egress from 10.200.0.1", &V4),
        ("drop egress from fd00:200::/64 port 32768-60999", &V6),
        ("drop egress from port 1000", &[]),
        ("drop egress to 10.200.0.1", &[]),
        ("drop egress port 2000", &[1, 4]),
        ("drop egress port 32768-60999", &ALL),
        ("drop from 10.200.0.0/24", &V4),
        ("drop from port 32768-60999", &ALL),
        ("drop from 10.200.0.1 port 1000", &[]),
        ("drop ingress to 10.200.0.66 port 1000", &[2]),
        ("drop ingress port 1000", &[0, 2, 3]),
        ("drop ingress from ::/0", &V6),
        ("drop ingress tcp", &[]),
        ("drop egress except port 1000", &[1, 4]),
        ("drop egress except port 999-1001, 32768-60999", &[]),
        ("drop egress except 10.200.0.66", &[0, 1, 3, 4]),
        ("drop to 10.200.0.0/24 except 10.200.0.64/26, ::/0", &[0, 1]),
        ("drop to port 1000 except fd00:200::/64", &[0, 2]),
        ("drop ingress except port 2000", &[0, 2, 3]),
        ("drop from 10.200.0.0/24 except 10.200.0.66", &[0, 1]),
    ];
    for (fault, hit) in faults {
        network.check(fault, &[], hit)?;
    }
    network.reconcile()
}

#[test]
fn a_session_whose_port_is_left_alone_goes_on_whatever_else_is_hit() -> Result<()> {
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
        let port = receiver.address().port();
        let mut agents = Vec::new();
        for target in [&pair.client_cgroup, &pair.server_cgroup] {
            let mut agent = Agent::new(&pair.claim)?;
            let text = format!("drop except port {port}; corrupt except port {port}");
            agent.arm_on(target, &text, Terms::default())?;
            agents.push((agent, target));
        }
        let send = TcpSend { to: receiver.address(), bytes: 1_000_000, timeout: PATIENCE };
        let sent = Victim::run(send, pair.client())?;
        let received = receiver.report()?;
        assert_eq!((sent.error, received.error), (None, None), "{bind}");
        assert_eq!((received.bytes, received.wrong_bytes), (1_000_000, 0), "{bind}");
        let matched = || -> Result<u64> {
            let of = |(agent, target): &(Agent, &TestCgroup)| {
                Ok(agent.counts(target, 0)?.matched + agent.counts(target, 1)?.matched)
            };
            agents.iter().map(of).sum()
        };
        assert_eq!(matched()?, 0, "{bind}");
        let other = SocketAddr::new(bind.ip(), port.wrapping_add(1));
        assert_eq!(Victim::run(UdpSend::new(other, EACH), pair.client())?.total().ok, EACH);
        assert_eq!(matched()?, EACH, "{bind}");
    }
    Ok(())
}

#[test]
fn exempt_addresses_are_left_alone_unless_named() -> Result<()> {
    let mut network = Network::new()?;
    network.check("drop egress", &["10.200.0.66"], &[0, 1, 3, 4])?;
    network.check("drop to 10.200.0.0/24", &["10.200.0.66", "fd00:200::2"], &[0, 1])?;
    network.check("drop to 10.200.0.66", &["10.200.0.66"], &[2])?;
    network.check("drop egress", &["fd00:200::2"], &[0, 1, 2, 4])?;
    network.check("drop ingress", &["10.200.0.1"], &V6)?;
    network.check("drop ingress", &["10.200.0.2", "fd00:200::1"], &[2])?;
    network.reconcile()
}

#[test]
fn rules_with_overlapping_networks_and_ports_do_not_hide_each_other() -> Result<()> {
    let pair = Pair::new()?;
    let faults = "shadow drop to 10.0.0.0/8 port 1-65535\n\
                  shadow drop to 10.200.0.0/16 port 1024-2047\n\
                  shadow drop to 10.200.0.2 port 1500\n\
                  shadow drop to 10.200.0.2 port 1501\n\
                  shadow drop to 10.200.0.3 port 1500\n\
                  drop to 10.200.0.0/24 port 1500";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let bind = pair.server_end.socket_v4(1500);
    let sink = Victim::start(UdpSink { bind }, pair.server())?;
    let sent = Victim::run(UdpSend::new(bind, EACH), pair.client())?.total();
    assert_eq!((sent.ok, sink.stop()?.received), (EACH, 0));
    let matched: Vec<u64> = (0..6)
        .map(|fault| Ok(agent.counts(&pair.client_cgroup, fault)?.matched))
        .collect::<Result<_>>()?;
    assert_eq!(matched, [EACH, EACH, EACH, 0, 0, EACH]);
    Ok(())
}

#[test]
fn an_ipv4_mapped_destination_is_ipv4() -> Result<()> {
    let pair = Pair::new()?;
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let faults = "drop every 2nd egress to 10.200.0.0/24\ndrop egress to ::/0";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let mapped = pair.server_end.v4.to_ipv6_mapped();
    let to = SocketAddr::from((mapped, sink.address().port()));
    assert_eq!(Victim::run(UdpSend::new(to, EACH), pair.client())?.total().ok, EACH);
    assert_eq!(sink.stop()?.received, EACH / 2);
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, EACH / 2);
    assert_eq!(agent.counts(&pair.client_cgroup, 1)?.matched, 0);
    Ok(())
}
