//! Targets that share a network namespace: its interfaces have one program for all of them, and each has its faults and its
//! books.

use std::{
    ffi::CString,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use chaos_ebpf_common::object::FRAME_JUMP;
use chaos_plan::Hook;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Sunk, UdpSend, UdpSink},
    machine::Shared,
    netns::TestNetns,
    process::{Place, Process},
    require,
    victim::Victim,
};
use nix::sys::signal::Signal;

use crate::{
    agent::{Agent, features, has_frames, has_line, id},
    daemon::{Daemon, PATIENCE},
    pair::{Pair, idle},
};

/// What a killed agent has armed is off after this time: far sooner than its lease lapses.
const KILLED: Duration = Duration::from_secs(5);

const SENT: u64 = 300;

/// How our programs stand at interfaces here.
#[derive(Clone, Copy)]
enum By {
    Links,
    Filters,
}

impl By {
    fn of(claim: &Shared) -> Result<Self> {
        let is_filter = features(claim)?.stand_in(Hook::TcxEgress).is_filter();
        Ok(if is_filter { Self::Filters } else { Self::Links })
    }

    /// How many of ours are at the sides of an interface: where frames leave, and where they arrive.
    fn programs(self, network: &TestNetns, interface: &str) -> Result<[usize; 2]> {
        match self {
            Self::Links => network.run(|| {
                let name = CString::new(interface)?;
                let at = |side| -> Result<usize> {
                    let (_, found) = SchedClassifier::query_tcx(name.as_c_str(), side)?;
                    Ok(found.iter().filter(|it| it.name() == FRAME_JUMP.as_bytes()).count())
                };
                Ok([at(TcAttachType::Egress)?, at(TcAttachType::Ingress)?])
            })?,
            Self::Filters => {
                let at = |side: &str| -> Result<usize> {
                    let shown = ["filter", "show", "dev", interface, side];
                    let output = network.command("tc").args(shown).output()?;
                    let listing = String::from_utf8(output.stdout)?;
                    Ok(listing.matches("chaos-agent-filter-").count())
                };
                Ok([at("egress")?, at("ingress")?])
            }
        }
    }
}

/// A cgroup with a process in a network namespace.
struct Guest {
    _idle: Process,
    cgroup: TestCgroup,
}

impl Guest {
    fn new(claim: &Shared, name: &str, network: &TestNetns) -> Result<Self> {
        let cgroup = TestCgroup::new(claim, name)?;
        let idle = idle(Place::here().cgroup(&cgroup).netns(network))?;
        Ok(Self { _idle: idle, cgroup })
    }
}

/// What arrives of datagrams that a guest sends itself on the loopback of its network.
fn arrived(network: &TestNetns, cgroup: &TestCgroup, count: u64) -> Result<u64> {
    let place = || Place::here().cgroup(cgroup).netns(network);
    let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place())?;
    Victim::run(UdpSend::new(sink.address(), count), place())?;
    sleep(Duration::from_millis(20));
    Ok(sink.stop()?.received)
}

/// Disarms, and takes off what is not needed any more.
fn disarm(agent: &mut Agent, cgroup: &TestCgroup) -> Result<()> {
    agent.armory.disarm(&id(cgroup), "the test says so").context("it is armed")?;
    agent.look()
}

/// More than the programs that an interface takes by links (kernel 6.6, `BPF_MPROG_MAX`: 63).
const MANY: usize = 70;

#[test]
fn more_targets_than_an_interface_takes_programs_share_one() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&claim));
    let (by, network) = (By::of(&claim)?, TestNetns::new()?);
    let mut agent = Agent::new(&claim)?.with_targets(MANY as u32);
    let bystander = Guest::new(&claim, "bystander", &network)?;
    let guests = (0..MANY)
        .map(|number| {
            let guest = Guest::new(&claim, &format!("target-{number}"), &network)?;
            agent.arm(&guest.cgroup, "corrupt egress udp")?;
            Ok(guest)
        })
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(by.programs(&network, "lo")?, [1, 0]);
    for place in [0, MANY / 2, MANY - 1] {
        let cgroup = &guests[place].cgroup;
        assert_eq!(arrived(&network, cgroup, 10)?, 0, "target {place}");
        assert_eq!(agent.counts(cgroup, 0)?.injected, 10, "target {place}");
    }
    assert_eq!(arrived(&network, &bystander.cgroup, 10)?, 10);
    // The one that brought the program leaves first, and the program with the last.
    for (left, guest) in guests.iter().enumerate() {
        let last = &guests[MANY - 1].cgroup;
        if left + 1 == MANY {
            assert_eq!(arrived(&network, last, 10)?, 0);
            assert_eq!(by.programs(&network, "lo")?, [1, 0]);
        }
        disarm(&mut agent, &guest.cgroup)?;
    }
    assert_eq!(by.programs(&network, "lo")?, [0, 0]);
    assert_eq!(arrived(&network, &guests[0].cgroup, 10)?, 10);
    Ok(())
}

/// A fault, and what comes of [`SENT`] datagrams: how many are hit, arrive, and are damaged then.
const FAULTS: [(&str, u64, u64, u64); 4] = [
    ("corrupt every 2nd", SENT / 2, SENT / 2, 0),
    ("corrupt silent every 5th", SENT / 5, SENT, SENT / 5),
    ("duplicate every 4th", SENT / 4, SENT + SENT / 4, 0),
    ("delay 20ms", SENT, SENT, 0),
];

#[test]
fn each_target_of_a_network_has_its_own_faults_and_books() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let (by, network) = (By::of(&pair.claim)?, &pair.client_netns);
    let guest = |name: &str| Guest::new(&pair.claim, name, network);
    let guests = (0..=FAULTS.len()).map(|it| guest(&format!("guest-{it}")));
    let guests = guests.collect::<Result<Vec<_>>>()?;
    for (direction, programs) in [("egress", [2, 0]), ("ingress", [0, 1])] {
        let mut agent = Agent::new(&pair.claim)?;
        for (guest, (fault, ..)) in guests.iter().zip(FAULTS) {
            agent.arm(&guest.cgroup, &format!("{fault} {direction} udp"))?;
        }
        // What leaves is asked about by those that hold or copy it behind the others.
        assert_eq!(by.programs(network, "eth0")?, programs, "{direction}");
        let leaves = direction == "egress";
        let bind = match leaves {
            true => pair.server_end.socket_v4(0),
            false => "10.200.0.1:0".parse()?,
        };
        // All of them at the same time, and the last one of them is in no target.
        let mut at_work = Vec::new();
        for guest in &guests {
            let place = Place::here().cgroup(&guest.cgroup).netns(network);
            let (from, to) = if leaves { (place, pair.server()) } else { (pair.server(), place) };
            let sink = Victim::start(UdpSink { bind }, to)?;
            let send = UdpSend {
                interval: Duration::from_micros(200),
                ..UdpSend::new(sink.address(), SENT)
            };
            at_work.push((sink, Victim::start(send, from)?));
        }
        let sinks = at_work.into_iter().map(|(sink, sender)| {
            assert_eq!(sender.report()?.total().ok, SENT);
            Ok(sink)
        });
        let sinks = sinks.collect::<Result<Vec<_>>>()?;
        sleep(Duration::from_millis(200));
        let seen = sinks.into_iter().map(Victim::stop).collect::<Result<Vec<Sunk>>>()?;
        for ((guest, seen), (fault, hit, arrive, damaged)) in guests.iter().zip(&seen).zip(FAULTS) {
            let counts = agent.counts(&guest.cgroup, 0)?;
            let what = format!("{fault} {direction}: {counts:?}");
            assert_eq!((counts.matched, counts.injected), (SENT, hit), "{what}");
            assert_eq!((seen.received, seen.corrupted), (arrive, damaged), "{what}");
        }
        let bystander = seen.last().context("there is one")?;
        assert_eq!((bystander.received, bystander.corrupted), (SENT, 0), "{direction}");
    }
    assert_eq!(by.programs(network, "eth0")?, [0, 0]);
    Ok(())
}

/// A target in another one: both are asked about its frames, and about the others' one.
#[test]
fn a_frame_of_nested_targets_is_asked_about_by_each() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let (by, network) = (By::of(&pair.claim)?, &pair.client_netns);
    let outer = Guest::new(&pair.claim, "outer", network)?;
    let inner = outer.cgroup.child("inner")?;
    let in_inner = || Place::here().cgroup(&inner).netns(network);
    let _idle = idle(in_inner())?;
    let mut agent = Agent::new(&pair.claim)?;
    agent.arm(&outer.cgroup, "corrupt silent every 5th udp")?;
    agent.arm(&inner, "corrupt silent every 2nd udp")?;
    assert_eq!(by.programs(network, "eth0")?, [1, 1]);
    let send = |from, to, bind| -> Result<u64> {
        let sink = Victim::start(UdpSink { bind }, to)?;
        Victim::run(UdpSend::new(sink.address(), SENT), from)?;
        sleep(Duration::from_millis(100));
        Ok(sink.stop()?.received)
    };
    let there = pair.server_end.socket_v4(0);
    assert_eq!(send(in_inner(), pair.server(), there)?, SENT);
    assert_eq!(send(pair.server(), in_inner(), "10.200.0.1:0".parse()?)?, SENT);
    let counts = |agent: &Agent, cgroup| -> Result<(u64, u64)> {
        let counts = agent.counts(cgroup, 0)?;
        Ok((counts.matched, counts.injected))
    };
    assert_eq!(counts(&agent, &outer.cgroup)?, (2 * SENT, 2 * SENT / 5));
    assert_eq!(counts(&agent, &inner)?, (2 * SENT, SENT));
    let in_outer = || Place::here().cgroup(&outer.cgroup).netns(network);
    assert_eq!(send(in_outer(), pair.server(), there)?, SENT);
    assert_eq!(counts(&agent, &outer.cgroup)?, (3 * SENT, 3 * SENT / 5));
    assert_eq!(counts(&agent, &inner)?, (2 * SENT, SENT));
    // One that copies what arrives, and another that holds it: a copy is held as well.
    agent.arm(&outer.cgroup, "duplicate ingress udp")?;
    agent.arm(&inner, "delay 10ms ingress udp")?;
    assert_eq!(send(pair.server(), in_inner(), "10.200.0.1:0".parse()?)?, 2 * SENT);
    assert_eq!(counts(&agent, &outer.cgroup)?, (SENT, SENT));
    assert_eq!(counts(&agent, &inner)?, (2 * SENT, 2 * SENT));
    Ok(())
}

#[test]
fn others_come_and_go_while_a_target_holds_frames() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let (by, network) = (By::of(&pair.claim)?, &pair.client_netns);
    let guests =
        [Guest::new(&pair.claim, "one", network)?, Guest::new(&pair.claim, "two", network)?];
    let mut agent = Agent::new(&pair.claim)?;
    agent.arm(&guests[0].cgroup, "delay 100ms udp")?;
    for (stays, goes) in [(0, 1), (1, 0)] {
        let [stays, goes] = [stays, goes].map(|it: usize| &guests[it].cgroup);
        let place = Place::here().cgroup(stays).netns(network);
        let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
        let interval = Duration::from_millis(2);
        let send = UdpSend { interval, ..UdpSend::new(sink.address(), SENT) };
        let sender = Victim::start(send, place)?;
        for _ in 0..5 {
            agent.arm(goes, "delay 50ms udp")?;
            agent.look()?;
            disarm(&mut agent, goes)?;
        }
        assert_eq!(sender.report()?.total().ok, SENT);
        sleep(Duration::from_millis(300));
        let seen = sink.stop()?;
        let counts = agent.counts(stays, 0)?;
        assert_eq!((counts.matched, counts.injected), (SENT, SENT), "{counts:?}");
        assert_eq!((seen.received, seen.distinct()), (SENT, SENT));
        // The next round is without the one that was there from the beginning.
        agent.arm(goes, "delay 100ms udp")?;
        disarm(&mut agent, stays)?;
        assert_eq!(by.programs(network, "eth0")?, [1, 1]);
    }
    disarm(&mut agent, &guests[0].cgroup)?;
    assert_eq!(by.programs(network, "eth0")?, [0, 0]);
    Ok(())
}

#[test]
fn frames_of_all_go_on_when_the_agent_is_killed() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&claim));
    let (by, network) = (By::of(&claim)?, TestNetns::new()?);
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&claim, &directory.path().join("agent.sock"), &["--lease", "10s"])?;
    let guests = (0..3)
        .map(|number| {
            let guest = Guest::new(&claim, &format!("target-{number}"), &network)?;
            daemon.arm(&guest.cgroup, "corrupt egress udp for 10m")?;
            Ok(guest)
        })
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(by.programs(&network, "lo")?, [1, 0]);
    for guest in &guests {
        assert_eq!(arrived(&network, &guest.cgroup, 10)?, 0);
    }
    daemon.process.signal(Signal::SIGKILL)?;
    let give_up = Instant::now() + KILLED;
    while arrived(&network, &guests[0].cgroup, 10)? != 10 {
        ensure!(Instant::now() < give_up, "the lease is waited for");
    }
    for guest in &guests {
        assert_eq!(arrived(&network, &guest.cgroup, 10)?, 10);
    }
    let give_up = Instant::now() + PATIENCE;
    while matches!(by, By::Links) && by.programs(&network, "lo")? != [0, 0] {
        ensure!(Instant::now() < give_up, "something is attached still");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
