//! Interfaces on top of one another: each packet is asked about once on its way out and once on its way
//! in, by every verb, whichever interface it takes.

mod changes;
mod scene;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::OnceLock,
    thread::sleep,
    time::Duration,
};

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    clock::is_emulated,
    job::{Call, Repeated, Sunk, TcpServe, UdpDelays, UdpSend, UdpSink, UdpStamps},
    machine::Shared,
    require,
    victim::Victim,
};
use scene::{Kind, Scene};

use crate::{
    agent::{Agent, has_frames, has_line},
    dns::{ask, question},
    name_server::NameServer,
};

/// Of each family; each verb hits every so many, and both families have the same share.
const DATAGRAMS: u64 = 420;
const CONNECTS: u64 = 20;
const STAMPS: u64 = 20;
const QUESTIONS: usize = 4;

/// Longer than datagrams of [`VERBS`] are held.
const LONGEST: Duration = Duration::from_millis(400);
/// How long those are held that are measured, in milliseconds, and longer than that.
const MEASURED: f64 = 300.0;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a receiver sees of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Lost,
    Damaged,
    Copied,
    /// Some of them later than others.
    Late,
    /// All, and in order.
    All,
}

#[derive(Clone, Copy, Debug)]
struct Verb {
    name: &'static str,
    /// Every so many are hit.
    every: u64,
    /// No more than so many.
    most: u64,
    seen: Seen,
}

const fn verb(name: &'static str, every: u64, seen: Seen) -> Verb {
    Verb { name, every, most: u64::MAX, seen }
}

/// For what is about interfaces more than about verbs.
const COPY: Verb = verb("duplicate every 4th", 4, Seen::Copied);

const VERBS: [Verb; 9] = [
    verb("drop every 3rd", 3, Seen::Lost),
    verb("corrupt silent every 5th", 5, Seen::Damaged),
    verb("corrupt every 6th", 6, Seen::Lost),
    COPY,
    verb("delay 200ms every 7th", 7, Seen::Late),
    verb("reorder by 200ms every 7th", 7, Seen::Late),
    verb("limit 100mbit", 1, Seen::All),
    verb("shadow duplicate every 4th", 4, Seen::All),
    Verb { most: 10, ..verb("duplicate at most 10", 1, Seen::Copied) },
];

impl Verb {
    /// How many of so many are hit, where the first of them is asked about as this one.
    fn hits(&self, first: u64, count: u64) -> u64 {
        let upto = |count: u64| (count / self.every).min(self.most);
        upto(first + count) - upto(first)
    }

    fn check(&self, sunk: &Sunk, hits: u64, what: &str) {
        let late: u64 = sunk.flows.values().map(|flow| flow.late).sum();
        let found = (sunk.received, sunk.duplicates(), sunk.corrupted);
        let expected = match self.seen {
            Seen::Lost => (DATAGRAMS - hits, 0, 0),
            Seen::Damaged => (DATAGRAMS, 0, hits),
            Seen::Copied => (DATAGRAMS + hits, hits, 0),
            Seen::Late | Seen::All => (DATAGRAMS, 0, 0),
        };
        let found = match self.seen {
            // Those that are so wrong that nobody knows which they are.
            Seen::Damaged => (found.0, 0, found.2),
            _ => found,
        };
        assert_eq!(found, expected, "{what}: {sunk:?}");
        if self.seen == Seen::Late && !is_emulated() {
            assert!(late > 0, "{what}: {sunk:?}");
        }
    }

    /// How often it was asked, and hit, is what the receivers saw.
    fn check_counts(&self, counts: &Counts, what: &str) {
        let (asked, hits) = (2 * DATAGRAMS, self.hits(0, 2 * DATAGRAMS));
        let done = if self.name.starts_with("shadow") { counts.shadowed } else { counts.injected };
        assert_eq!((counts.matched, done), (asked, hits), "{what}: {counts:?}");
    }
}

/// Sentences, and what listens for what they are about.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(
        &mut self,
        verb: &str,
        direction: &str,
        protocol: &str,
        ports: [SocketAddr; 2],
    ) -> usize {
        let [first, second] = ports.map(|address| address.port());
        self.0.push(format!("{verb} {direction} {protocol} to port {first}, {second}"));
        self.0.len() - 1
    }
}

/// One receiver for each family; at port 0 the kernel chooses one.
fn both<T>(
    addresses: [IpAddr; 2],
    port: u16,
    start: impl Fn(SocketAddr) -> Result<T>,
) -> Result<[T; 2]> {
    let [first, second] = addresses.map(|address| start(SocketAddr::new(address, port)));
    Ok([first?, second?])
}

/// All verbs, each on ports of its own, in one direction. What copies by chance and a seed made of so many
/// datagrams of each family.
fn check_direction(scene: &Scene, direction: &str) -> Result<[u64; 2]> {
    let (from, to) = if direction == "egress" { (0, 1) } else { (1, 0) };
    let place = |host| scene.place(host);
    let sinks =
        |addresses, port| both(addresses, port, |bind| Victim::start(UdpSink { bind }, place(to)));
    let at = |victims: &[Victim<UdpSink>; 2]| [victims[0].address(), victims[1].address()];
    let mut faults = Faults::default();

    let mut rows = Vec::new();
    for verb in VERBS {
        let sinks = sinks(scene.addresses(to), 0)?;
        rows.push((faults.add(verb.name, direction, "udp", at(&sinks)), verb, sinks));
    }
    if scene.kind.leaves_eth0() {
        let verb = COPY;
        let sinks = sinks(scene.eth0(to), 0)?;
        rows.push((faults.add(verb.name, direction, "udp", at(&sinks)), verb, sinks));
    }
    // Dice go by the whole sentence.
    let seeded = sinks(scene.addresses(to), 4007)?;
    let seeded_fault = faults.add("duplicate 20% seed 7", direction, "udp", at(&seeded));
    let clocks = both(scene.addresses(to), 0, |bind| Victim::start(UdpDelays { bind }, place(to)))?;
    let held = format!("delay {MEASURED}ms");
    let held = faults.add(&held, direction, "udp", [clocks[0].address(), clocks[1].address()]);
    let servers = both(scene.addresses(to), 0, |bind| Victim::start(TcpServe { bind }, place(to)))?;
    let reset = faults.add("reset", direction, "tcp", [servers[0].address(), servers[1].address()]);
    let questions = (direction == "egress").then(|| {
        faults.0.push("fail dns with NXDOMAIN for *.example.com".to_owned());
        faults.0.push("delay dns by 50ms for slow.test".to_owned());
        faults.0.len() - 2
    });

    let mut agent = Agent::armed(&scene.claim, &scene.target, &faults.0.join("\n"))?;
    agent.look()?;
    let send = |address| -> Result<()> {
        let sent = Victim::run(UdpSend::new(address, DATAGRAMS), place(from))?.total();
        assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
        Ok(())
    };
    for (.., sinks) in &rows {
        at(sinks).into_iter().try_for_each(send)?;
    }
    at(&seeded).into_iter().try_for_each(send)?;
    for clock in &clocks {
        let (flows, interval) = (1, Duration::from_millis(5));
        let stamps = UdpStamps { to: clock.address(), count: STAMPS, flows, interval };
        Victim::run(stamps, place(from))?;
    }
    for server in &servers {
        let to = server.address();
        let connect = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
        let client = Victim::run(Call::new(connect, CONNECTS), place(from))?.total();
        assert_eq!(client.failed_with("ECONNREFUSED"), CONNECTS, "{to}: {:?}", client.errors);
    }
    if let Some(first) = questions {
        check_names(scene, &agent, first)?;
    }
    sleep(LONGEST);

    // What the victims saw, and then what the ledger says.
    for (fault, verb, sinks) in rows {
        for (asked, sink) in [0, DATAGRAMS].into_iter().zip(sinks) {
            let what = format!("{:?}, {}, to {}", scene.kind, faults.0[fault], sink.address());
            verb.check(&sink.stop()?, verb.hits(asked, DATAGRAMS), &what);
        }
        let what = format!("{:?}, {}", scene.kind, faults.0[fault]);
        verb.check_counts(&agent.counts(&scene.target, fault)?, &what);
    }
    for clock in clocks {
        let delays = clock.stop()?;
        let first = delays.milliseconds()[0];
        let what = format!("{:?}, {}: {delays:?}", scene.kind, faults.0[held]);
        assert_eq!(delays.count(), STAMPS, "{what}");
        assert!((MEASURED..2.0 * MEASURED).contains(&first), "{what}");
    }
    let counts = agent.counts(&scene.target, held)?;
    assert_eq!((counts.matched, counts.injected), (2 * STAMPS, 2 * STAMPS), "{counts:?}");
    for server in servers {
        assert_eq!(server.stop()?.accepted, 0);
    }
    let counts = agent.counts(&scene.target, reset)?;
    let expected = (2 * CONNECTS, 2 * CONNECTS);
    assert_eq!((counts.matched, counts.injected), expected, "{:?} {direction}", scene.kind);
    let [first, second] = seeded.map(Victim::stop);
    let copies = [first?.duplicates(), second?.duplicates()];
    let counts = agent.counts(&scene.target, seeded_fault)?;
    assert_eq!((counts.matched, counts.injected), (2 * DATAGRAMS, copies[0] + copies[1]));
    Ok(copies)
}

/// Questions of the target's, for names of two faults, of which this is the first.
fn check_names(scene: &Scene, agent: &Agent, first: usize) -> Result<()> {
    let mut questions = Vec::new();
    for name in ["www.example.com", "slow.test"] {
        questions.extend(std::iter::repeat_n(question(name, 1, true), QUESTIONS));
    }
    let known = Ipv4Addr::new(10, 9, 8, 7);
    for address in scene.addresses(1) {
        let server = NameServer::start(&scene.netns[1], address, known)?;
        let answers = ask(scene.place(0), server.address, "10", &questions)?;
        let codes = answers.iter().map(|one| one.answer.as_ref().map(|answer| answer[3] & 15));
        let mut expected = vec![Some(3); QUESTIONS];
        expected.extend([Some(0); QUESTIONS]);
        assert_eq!(codes.collect::<Vec<_>>(), expected, "{:?} {address}", scene.kind);
        assert_eq!(server.asked(), QUESTIONS as u64, "{:?} {address}", scene.kind);
    }
    for fault in [first, first + 1] {
        let counts = agent.counts(&scene.target, fault)?;
        let asked = 2 * QUESTIONS as u64;
        assert_eq!((counts.matched, counts.injected), (asked, asked), "{:?}", scene.kind);
    }
    Ok(())
}

/// A sentence without ports, which would also speak of what a tunnel wraps around.
fn check_without_ports(scene: &Scene, direction: &str) -> Result<()> {
    let (from, to) = if direction == "egress" { (0, 1) } else { (1, 0) };
    let verb = COPY;
    let fault = format!("{} {direction} udp", verb.name);
    let mut agent = Agent::armed(&scene.claim, &scene.target, &fault)?;
    agent.look()?;
    let what = format!("{:?}, {fault}", scene.kind);
    for (asked, address) in [0, DATAGRAMS].into_iter().zip(scene.addresses(to)) {
        let bind = SocketAddr::new(address, 0);
        let sink = Victim::start(UdpSink { bind }, scene.place(to))?;
        Victim::run(UdpSend::new(sink.address(), DATAGRAMS), scene.place(from))?;
        verb.check(&sink.stop()?, verb.hits(asked, DATAGRAMS), &what);
    }
    verb.check_counts(&agent.counts(&scene.target, 0)?, &what);
    Ok(())
}

/// By direction, what copies by chance and a seed made of the datagrams.
type Copies = BTreeMap<&'static str, [u64; 2]>;

fn copies(kind: Kind) -> Result<Copies> {
    let scene = Scene::new(kind)?;
    let check = |direction| {
        check_without_ports(&scene, direction)?;
        Ok((direction, check_direction(&scene, direction)?))
    };
    ["egress", "ingress"].into_iter().map(check).collect()
}

/// Each verb does what it says, and copies by a seed are those of a host without layers.
fn check(kind: Kind) -> Result<()> {
    static PLAIN: OnceLock<Copies> = OnceLock::new();
    let claim = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&claim));
    require!("a delay line", since 5, 8; has_line(&claim));
    drop(claim);
    let plain = PLAIN.get_or_init(|| copies(Kind::Plain).expect("a host without layers"));
    assert_eq!(copies(kind)?, *plain, "{kind:?}");
    Ok(())
}

#[test]
fn a_bridge() -> Result<()> {
    check(Kind::Bridge)
}

#[test]
fn a_bond() -> Result<()> {
    require!("a bond"; Kind::Bond.can_be_made());
    check(Kind::Bond)
}

#[test]
fn a_vlan_alone() -> Result<()> {
    require!("a VLAN"; Kind::Vlan.can_be_made());
    check(Kind::Vlan)
}

#[test]
fn a_macvlan() -> Result<()> {
    require!("a macvlan"; Kind::Macvlan.can_be_made());
    check(Kind::Macvlan)
}

#[test]
fn a_vxlan() -> Result<()> {
    require!("a VXLAN"; Kind::Vxlan.can_be_made());
    check(Kind::Vxlan)
}

#[test]
fn a_vlan_over_a_bond() -> Result<()> {
    require!("a VLAN over a bond"; Kind::VlanOverBond.can_be_made());
    check(Kind::VlanOverBond)
}

#[test]
fn a_vxlan_over_a_bridge() -> Result<()> {
    require!("a VXLAN"; Kind::VxlanOverBridge.can_be_made());
    check(Kind::VxlanOverBridge)
}
