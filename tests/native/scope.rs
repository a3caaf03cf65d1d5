//! Whom a fault reaches: everything in the target's subtree, and nobody beside it.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeat, Repeated, SocketKind, TcpServe, UdpEcho, UdpPing, UdpSend, UdpSink},
    process::{Place, Process},
    require,
    tally::{Attempts, Tally},
    victim::{self, Victim},
};

use crate::{
    agent::{Agent, has_frames},
    pair::Pair,
};

const OPERATIONS: u64 = 100_000;

/// A pair whose client's namespace is shared with another cgroup, as hosts' networks are.
struct Neighbours {
    neighbour_cgroup: TestCgroup,
    pair: Pair,
}

impl Neighbours {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        Ok(Self { neighbour_cgroup: TestCgroup::new(&pair.claim, "neighbour")?, pair })
    }

    fn target(&self) -> Place<'_> {
        self.pair.client()
    }

    fn neighbour(&self) -> Place<'_> {
        Place::here().cgroup(&self.neighbour_cgroup).netns(&self.pair.client_netns)
    }

    /// The same call by both at the same time: what each saw, the target first.
    fn call(&self, call: &Call) -> Result<[Tally; 2]> {
        let target = Victim::start(call.clone(), self.target())?;
        let neighbour = Victim::start(call.clone(), self.neighbour())?;
        Ok([target.report()?.total(), neighbour.report()?.total()])
    }
}

#[test]
fn calls_of_a_twin_never_fail() -> Result<()> {
    let neighbours = Neighbours::new()?;
    let server = Victim::start(
        TcpServe { bind: neighbours.pair.server_end.socket_v4(0) },
        neighbours.pair.server(),
    )?;
    let timeout = Duration::from_secs(10);
    let connect = Repeated::Connect { to: server.address(), nonblocking: false, timeout };
    let any = SocketAddr::from(([0; 4], 0));
    let cases = [
        ("connect", connect, OPERATIONS / 50),
        ("bind", Repeated::Bind { kind: SocketKind::Udp4, address: any }, OPERATIONS),
        ("socket", Repeated::Socket { kind: SocketKind::Tcp6 }, OPERATIONS),
        ("setsockopt", Repeated::SetSockopt, OPERATIONS),
        ("getsockopt", Repeated::GetSockopt, OPERATIONS),
    ];
    for (name, what, operations) in cases {
        let fault = format!("fail {name} with ENOMEM 50%");
        let target = &neighbours.pair.client_cgroup;
        let agent = Agent::armed(&neighbours.pair.claim, target, &fault)?;
        let [hit, spared] = neighbours.call(&Call::new(what, operations))?;
        let counts = agent.counts(target, 0)?;
        assert_eq!((spared.ok, spared.failed()), (operations, 0), "{name}: {:?}", spared.errors);
        assert_eq!(hit.failed_with("ENOMEM"), counts.injected, "{name}: {:?}", hit.errors);
        // A connect's set-up calls are not connects; nothing of the neighbour was even looked at.
        assert_eq!(counts.matched, operations, "{name}");
        assert!(counts.injected > 0, "{name}");
    }
    Ok(())
}

#[test]
fn two_targets_have_their_own_faults() -> Result<()> {
    let neighbours = Neighbours::new()?;
    let Neighbours { pair, neighbour_cgroup } = &neighbours;
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop every 2nd egress udp")?;
    agent.arm(neighbour_cgroup, "drop every 5th egress udp")?;
    for (cgroup, place, nth) in [
        (&pair.client_cgroup, neighbours.target(), 2),
        (neighbour_cgroup, neighbours.neighbour(), 5),
    ] {
        let bind = pair.server_end.socket_v4(0);
        let sink = Victim::start(UdpSink { bind }, pair.server())?;
        Victim::run(UdpSend::new(sink.address(), 1_000), place)?;
        let counts = agent.counts(cgroup, 0)?;
        assert_eq!((counts.matched, counts.injected), (1_000, 1_000 / nth));
        assert_eq!(sink.stop()?.received, 1_000 - counts.injected);
    }
    Ok(())
}

#[test]
fn a_target_within_a_target_has_the_faults_of_both() -> Result<()> {
    let pair = Pair::new()?;
    let container = pair.client_cgroup.child("container")?;
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop every 2nd egress udp")?;
    agent.arm(&container, "drop every 3rd egress udp")?;
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let send = UdpSend::new(sink.address(), 600);
    Victim::run(send.clone(), pair.client().cgroup(&container))?;
    let [inner, outer] = [&container, &pair.client_cgroup].map(|cgroup| agent.counts(cgroup, 0));
    let [inner, outer] = [inner?, outer?];
    // The kernel asks both, also about what one of them has lost already.
    assert_eq!((inner.matched, inner.injected), (600, 200));
    assert_eq!((outer.matched, outer.injected), (600, 300));
    // Every 6th was lost twice.
    assert_eq!(sink.stop()?.received, 600 - 200 - 300 + 100);

    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    Victim::run(UdpSend { to: sink.address(), ..send }, pair.client())?;
    assert_eq!(sink.stop()?.received, 300, "outside the container");
    assert_eq!(agent.counts(&container, 0)?.matched, 600, "outside the container");
    Ok(())
}

#[test]
fn cgroups_below_the_target_and_forks_belong_to_it() -> Result<()> {
    let pair = Pair::new()?;
    let before = pair.client_cgroup.child("a/b")?;
    let fault = "fail socket with EMFILE";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let after = pair.client_cgroup.child("made/later")?;
    let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 100);
    for place in [&before, &after, &pair.client_cgroup].map(|cgroup| Place::here().cgroup(cgroup)) {
        assert_eq!(Victim::run(call.clone(), place)?.total().failed_with("EMFILE"), 100);
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"("$0" "$1" <&3 & wait) 3<&0"#]).args(victim::command_line(call)?);
    let shell = Process::spawn(shell, pair.client())?;
    let lines: Vec<String> = shell.remaining_lines().collect();
    let report: Attempts =
        victim::parse_report::<Call>(lines.last().context("the victim printed nothing")?)?;
    assert_eq!(report.total().failed_with("EMFILE"), 100);
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 400);
    Ok(())
}

#[test]
fn a_process_that_joins_later_is_hit_and_one_that_leaves_is_not() -> Result<()> {
    let neighbours = Neighbours::new()?;
    let Neighbours { pair, neighbour_cgroup } = &neighbours;
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "fail socket with EMFILE")?;
    let call = Call {
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(1),
        ..Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 0)
    };
    let victim = Victim::start(call, neighbours.neighbour())?;
    let phase = || std::thread::sleep(Duration::from_millis(100));
    let join = |cgroup: &TestCgroup| {
        fs::write(cgroup.path().join("cgroup.procs"), victim.pid().to_string())
    };
    phase();
    join(&pair.client_cgroup)?;
    phase();
    join(neighbour_cgroup)?;
    phase();
    let total = victim.stop()?.total();
    assert_eq!(total.failed_with("EMFILE"), agent.counts(&pair.client_cgroup, 0)?.injected);
    assert!(total.failed() > 0);
    assert!(total.first_ok_at < total.first_error_at, "{total:?}");
    assert!(total.last_error_at < total.last_ok_at, "{total:?}");
    Ok(())
}

#[test]
fn both_ways_of_a_conversation_over_a_shared_loopback() -> Result<()> {
    let neighbours = Neighbours::new()?;
    let Neighbours { pair, .. } = &neighbours;
    let echo = Victim::start(
        UdpEcho { bind: SocketAddr::from(([127, 0, 0, 1], 0)) },
        neighbours.neighbour(),
    )?;
    let ping = UdpPing {
        to: echo.address(),
        repeat: Repeat::Times(30),
        interval: Duration::ZERO,
        timeout: Duration::from_millis(10),
    };
    let fault = format!("drop every 3rd ingress udp from port {}", echo.address().port());
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    let [hit, spared] =
        [neighbours.target(), neighbours.neighbour()].map(|place| Victim::run(ping.clone(), place));
    let [hit, spared] = [hit?, spared?];
    assert_eq!((hit.failed(), spared.failed()), (10, 0));
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 10);
    assert_eq!(echo.stop()?.received, 60);
    Ok(())
}

/// A hundred thousand datagrams each.
mod repeated {
    use super::*;

    #[test]
    fn datagrams_of_a_twin_are_never_touched() -> Result<()> {
        let neighbours = Neighbours::new()?;
        let Neighbours { pair, .. } = &neighbours;
        require!("frames", since 4, 5; has_frames(&pair.claim));
        let fault =
            "fail sendto with ENOBUFS 10%\ndrop 30% egress udp\ncorrupt 50% silent egress udp";
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let bind = pair.server_end.socket_v4(0);
        let sinks = [0, 1].map(|_| Victim::start(UdpSink { bind }, pair.server()));
        let [hit, spared] = sinks;
        let [hit, spared] = [hit?, spared?];
        let send = |sink: &Victim<UdpSink>, place| {
            let send = UdpSend { connected: false, ..UdpSend::new(sink.address(), OPERATIONS) };
            Victim::start(send, place)
        };
        let target = send(&hit, neighbours.target())?;
        let neighbour = send(&spared, neighbours.neighbour())?;
        let [target, neighbour] = [target.report()?.total(), neighbour.report()?.total()];
        let [hit, spared] = [hit.stop()?, spared.stop()?];
        assert_eq!((neighbour.ok, neighbour.failed()), (OPERATIONS, 0), "{:?}", neighbour.errors);
        assert_eq!((spared.received, spared.corrupted), (OPERATIONS, 0));
        let counts = (0..3)
            .map(|fault| agent.counts(&pair.client_cgroup, fault))
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(counts[0].matched, OPERATIONS);
        assert_eq!((counts[0].injected, counts[1].matched), (target.failed(), target.ok));
        assert_eq!(hit.received, target.ok - counts[1].injected);
        assert_eq!((counts[2].matched, counts[2].injected), (hit.received, hit.corrupted));
        Ok(())
    }

    #[test]
    fn what_arrives_for_a_twin_is_never_touched() -> Result<()> {
        let neighbours = Neighbours::new()?;
        let Neighbours { pair, .. } = &neighbours;
        require!("frames", since 4, 5; has_frames(&pair.claim));
        let fault = "drop 30% ingress udp\ncorrupt 50% silent ingress udp";
        for bind in [SocketAddr::from(([10, 200, 0, 1], 0)), "[fd00:200::1]:0".parse()?] {
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
            let hit = Victim::start(UdpSink { bind }, neighbours.target())?;
            let spared = Victim::start(UdpSink { bind }, neighbours.neighbour())?;
            let count = OPERATIONS / 2;
            let senders = [hit.address(), spared.address()]
                .map(|to| Victim::start(UdpSend::new(to, count), pair.server()));
            for sender in senders {
                assert_eq!(sender?.report()?.total().ok, count);
            }
            let [hit, spared] = [hit.stop()?, spared.stop()?];
            assert_eq!((spared.received, spared.corrupted), (count, 0), "{bind}");
            let lost = agent.counts(&pair.client_cgroup, 0)?;
            let changed = agent.counts(&pair.client_cgroup, 1)?;
            // Frames arrive before sockets do: what is corrupted may be lost afterwards.
            assert_eq!((changed.matched, lost.matched), (count, count), "{bind}");
            assert_eq!(hit.received, count - lost.injected, "{bind}");
            assert!((1..=changed.injected).contains(&hit.corrupted), "{bind}: {changed:?}");
        }
        Ok(())
    }
}
