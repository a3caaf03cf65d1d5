//! `delay`: what the victim measures is what was asked for, and nothing is lost.

use std::{
    net::{IpAddr, SocketAddr},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use chaos_plan::DelayLine;
use chaos_tests::{
    cgroup::TestCgroup,
    clock::is_emulated,
    job::{
        Delays, TcpConnects, TcpReceive, TcpSend, TcpServe, UdpDelays, UdpSend, UdpSink, UdpStamps,
    },
    process::Place,
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_line, line},
    checksums::Counters,
    pair::Pair,
};

/// What a frame takes without us, and how late a busy machine wakes a thread: half of all frames are earlier
/// than this. An emulated processor may be away for tens of milliseconds.
fn margin() -> f64 {
    if is_emulated() { 250.0 } else { 3.0 }
}

/// How long a frame may take that still counts.
fn in_time() -> Duration {
    if is_emulated() { Duration::from_secs(1) } else { Duration::ZERO }
}

/// The same for a quarter of them.
const LATE: f64 = 15.0;

/// That nothing overtook what was sent before. Emulated processors take turns on one of the machine, and the
/// frames of one flow may be sent by both: what waits for the one that is away is overtaken by what the other
/// sends, with netem too. Even there most frames keep their order.
fn assert_in_order(late: u64, sent: u64, what: &str) {
    let most = if is_emulated() { sent / 2 } else { 0 };
    assert!(late <= most, "{what}: {late} of {sent} were overtaken");
}

/// The client's address of the same family.
fn client(server: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match server {
        SocketAddr::V4(_) => [10, 200, 0, 1].into(),
        SocketAddr::V6(_) => [0xfd00, 0x200, 0, 0, 0, 0, 0, 1].into(),
    };
    (ip, 0).into()
}

/// Stamps from one place to an address in another, whose delays are at most `longest`.
fn measure(
    stamps: UdpStamps,
    [from, to]: [Place<'_>; 2],
    longest: Duration,
) -> Result<(u64, Delays)> {
    let delays = Victim::start(UdpDelays { bind: stamps.to }, to)?;
    let sent = Victim::run(UdpStamps { to: delays.address(), ..stamps }, from)?.sent;
    sleep(longest);
    Ok((sent, delays.stop()?))
}

fn stamps(to: SocketAddr, count: u64, interval: Duration) -> UdpStamps {
    UdpStamps { to, count, flows: 1, interval }
}

#[test]
fn datagrams_are_held_for_as_long_as_asked() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for (by, count) in [(1, 200), (10, 200), (100, 30)] {
        let fault = format!("delay {by}ms egress udp; delay {by}ms ingress udp");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let expected = by as f64;
        let interval = Duration::from_millis(2);
        for server in pair.addresses() {
            for (rule, to, places) in [
                (0, server, [pair.client(), pair.server()]),
                (1, client(server), [pair.server(), pair.client()]),
            ] {
                let before = agent.counts(&pair.client_cgroup, rule)?.injected;
                let longest = Duration::from_millis(by + 100).max(in_time());
                let (sent, delays) = measure(stamps(to, count, interval), places, longest)?;
                let all = delays.milliseconds();
                println!(
                    "{fault}, {to}: median {:.3} ms of {:.3} to {:.3}",
                    delays.median(),
                    all[0],
                    all[all.len() - 1]
                );
                assert_eq!(delays.count(), sent, "{fault}, {to}");
                assert_in_order(delays.late, sent, &format!("{fault}, {to}"));
                assert!(all[0] >= expected, "{fault}, {to}: {} ms", all[0]);
                assert!(
                    delays.median() < expected + margin(),
                    "{fault}, {to}: {}",
                    delays.median()
                );
                let after = agent.counts(&pair.client_cgroup, rule)?;
                assert_eq!(after.injected - before, sent, "{fault}, {to}: {after:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_connection_takes_a_round_trip_that_is_held_both_ways() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for bind in pair.addresses() {
        let server = Victim::start(TcpServe { bind }, pair.server())?;
        let port = server.address().port();
        let agent =
            Agent::armed(&pair.claim, &pair.client_cgroup, &format!("delay 10ms tcp port {port}"))?;
        let connects = TcpConnects { to: server.address(), count: 20 };
        let held = Victim::run(connects.clone(), pair.client())?;
        assert!(held.milliseconds()[0] >= 20.0, "{bind}: {held:?}");
        assert!(held.median() < 20.0 + 2.0 * margin(), "{bind}: {held:?}");
        drop(agent);
        let free = Victim::run(connects, pair.client())?;
        assert!(free.median() < 10.0_f64.max(margin()), "{bind}: {free:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_and_order_is_kept() -> Result<()> {
    const DATAGRAMS: u64 = 20_000;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for direction in ["egress", "ingress"] {
        let fault = format!("delay 100ms {direction} udp");
        let (bind, [from, to]) = match direction {
            "egress" => (pair.server_end.socket_v4(0), [pair.client(), pair.server()]),
            _ => (client(pair.server_end.socket_v4(0)), [pair.server(), pair.client()]),
        };
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let sink = Victim::start(UdpSink { bind }, to)?;
        let interval = Duration::from_micros(20);
        let send =
            UdpSend { flows: 2, threads: 2, interval, ..UdpSend::new(sink.address(), DATAGRAMS) };
        let sent = Victim::run(send, from)?.total();
        sleep(Duration::from_millis(500));
        let sunk = sink.stop()?;
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert_eq!((sent.ok, sunk.received, sunk.corrupted), (DATAGRAMS, DATAGRAMS, 0), "{fault}");
        assert_eq!((sunk.duplicates(), counts.matched, counts.lost), (0, DATAGRAMS, 0), "{fault}");
        // An emulated processor is at times away for so long that frames pass unheld.
        let unheld = counts.matched - counts.injected;
        assert!(unheld == 0 || is_emulated(), "{fault}: {counts:?}");
        let late: u64 = sunk.flows.values().map(|flow| flow.late).sum();
        println!("{fault}: {late} came late");
        if unheld == 0 {
            assert_in_order(late, DATAGRAMS, &fault);
        }
    }
    Ok(())
}

#[test]
fn a_stream_arrives_whole() -> Result<()> {
    let length = if is_emulated() { 10_000_000 } else { 50_000_000 };
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for bind in pair.addresses() {
        for (from, direction) in [(true, "egress"), (false, "ingress")] {
            let (places, bind) = if from {
                ([pair.client(), pair.server()], bind)
            } else {
                ([pair.server(), pair.client()], client(bind))
            };
            let fault = format!("delay 10ms {direction} tcp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let [from, to] = places;
            let receiver = Victim::start(TcpReceive { bind }, to)?;
            let netns = [&pair.client_netns, &pair.server_netns];
            let retransmitted = || -> Result<u64> {
                let counters = netns.map(Counters::read).into_iter().collect::<Result<Vec<_>>>()?;
                Ok(counters.iter().map(|counters| counters.of("Tcp.RetransSegs")).sum())
            };
            let (before, began) = (retransmitted()?, Instant::now());
            let timeout = Duration::from_secs(20);
            let send = TcpSend { to: receiver.address(), bytes: length, timeout };
            let sent = Victim::run(send, from)?;
            let received = receiver.report()?;
            let took = began.elapsed();
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!((sent.bytes, sent.error), (length, None), "{fault}, {bind}");
            assert_eq!((received.bytes, received.wrong_bytes), (length, 0), "{fault}, {bind}");
            assert_eq!((received.error, counts.lost), (None, 0), "{fault}, {bind}: {counts:?}");
            let again = retransmitted()? - before;
            println!("{fault}, {bind}: {took:?}, {again} segments sent again, {counts:?}");
            // What was late looks lost to the sender now and then.
            let few = again * 100 <= counts.injected.max(1000);
            assert!(few || is_emulated(), "{fault}, {bind}: {again}");
        }
    }
    Ok(())
}

#[test]
fn neighbours_are_not_slowed() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let neighbour = TestCgroup::new(&pair.claim, "neighbour")?;
    let neighbour = Place::here().cgroup(&neighbour).netns(&pair.client_netns);
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "delay 200ms udp")?;
    let server = pair.server_end.socket_v4(0);
    let longest = Duration::from_millis(300);
    let few = |to| stamps(to, 50, Duration::from_millis(1));
    for (to, other, own) in [
        (server, [neighbour, pair.server()], [pair.client(), pair.server()]),
        (client(server), [pair.server(), neighbour], [pair.server(), pair.client()]),
    ] {
        let (sent, delays) = measure(few(to), other, longest)?;
        assert_eq!(delays.count(), sent, "{to}");
        assert!(delays.median() < 50.0, "{to}: {}", delays.median());
        let (_, delays) = measure(few(to), own, longest)?;
        assert!(delays.median() >= 200.0, "{to}: {}", delays.median());
    }
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!((counts.matched, counts.injected), (100, 100), "{counts:?}");
    Ok(())
}

/// The quartiles of what the client's datagrams are held under a fault, in milliseconds.
fn quartiles(pair: &Pair, fault: &str) -> Result<[f64; 3]> {
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let server = pair.server_end.socket_v4(0);
    let stamps = stamps(server, 800, Duration::from_micros(500));
    let (sent, delays) =
        measure(stamps, [pair.client(), pair.server()], Duration::from_millis(400))?;
    assert_eq!(delays.count(), sent, "{fault}");
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, sent, "{fault}");
    let all = delays.milliseconds();
    Ok([1, 2, 3].map(|part| all[part * all.len() / 4]))
}

#[test]
fn jitter_has_its_distribution() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    // Quantiles at 1/4, 1/2 and 3/4, in jitters.
    for (shape, expected) in [
        ("", [-0.5, 0.0, 0.5]),
        ("uniform", [-0.5, 0.0, 0.5]),
        ("normal", [-0.6745, 0.0, 0.6745]),
        ("pareto", [-0.5325, -0.3201, 0.1165]),
        ("paretonormal", [-0.5680, -0.2401, 0.2560]),
    ] {
        let fault = format!("delay 100ms jitter 40ms {shape} egress udp seed 3");
        let found = quartiles(&pair, &fault)?;
        println!("{fault}: {found:?}");
        for (found, expected) in found.into_iter().zip(expected) {
            let expected = 100.0 + 40.0 * expected;
            // The sample is always the same; its quartiles are within 3 ms of the distribution's.
            let bounds = expected - 4.0..expected + 4.0 + LATE;
            assert!(bounds.contains(&found), "{fault}: {found}");
        }
    }
    Ok(())
}

/// How neighbours are correlated by their ranks, which some that are very late do not change.
fn rank_correlation(delays: &[u64]) -> f64 {
    let mut sorted: Vec<usize> = (0..delays.len()).collect();
    sorted.sort_by_key(|index| delays[*index]);
    let mut ranks = vec![0.0; delays.len()];
    for (rank, index) in sorted.into_iter().enumerate() {
        ranks[index] = rank as f64;
    }
    let mean = (delays.len() - 1) as f64 / 2.0;
    let product = |one: f64, other: f64| (one - mean) * (other - mean);
    let covariance: f64 = ranks.windows(2).map(|pair| product(pair[0], pair[1])).sum();
    covariance / ranks.iter().map(|rank| product(*rank, *rank)).sum::<f64>()
}

#[test]
fn neighbours_are_correlated_and_the_distribution_is_the_same() -> Result<()> {
    const COUNT: u64 = 800;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    // So far apart that nothing overtakes.
    let stamps = stamps(pair.server_end.socket_v4(0), COUNT, Duration::from_millis(9));
    for (correlation, clause) in [(0.0, ""), (0.25, "correlation 25%"), (0.75, "correlation 75%")] {
        let fault = format!("delay 5ms jitter 4ms {clause} egress udp seed 8");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let places = [pair.client(), pair.server()];
        let (sent, delays) = measure(stamps.clone(), places, Duration::from_millis(100))?;
        assert_eq!((delays.count(), sent), (COUNT, COUNT), "{fault}");
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, sent, "{fault}");
        let found = rank_correlation(&delays.flows[&0]);
        let all = delays.milliseconds();
        let between = |delay: f64| ((delay - 1.0) / 8.0).clamp(0.0, 1.0);
        let distances = (0..)
            .zip(&all)
            .map(|(index, delay)| (between(*delay) - f64::from(index) / all.len() as f64).abs());
        let distance = distances.fold(0.0, f64::max);
        println!("{fault}: correlation {found:.3}, distance {distance:.3}");
        if is_emulated() {
            continue;
        }
        // The dice are always the same, and one sample of 800 in a hundred is further off than 0.09 in
        // its correlation, and than that in its distribution, where as many count as have a delay of
        // their own. The line is late by some tenths of a millisecond of eight.
        assert!((found - correlation).abs() < 0.11, "{fault}: {found}");
        let own = COUNT as f64 * (1.0 - correlation) / (1.0 + correlation);
        assert!(distance < 1.63 / own.sqrt() + 0.06, "{fault}: {distance}");
    }
    Ok(())
}

#[test]
fn a_flow_keeps_its_delay() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let server = pair.server_end.socket_v4(0);
    let places = || [pair.client(), pair.server()];
    let stamps = UdpStamps { flows: 16, ..stamps(server, 20, Duration::from_millis(2)) };
    let run = |fault: &str| -> Result<(Vec<Vec<f64>>, u64)> {
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let (sent, delays) = measure(stamps.clone(), places(), Duration::from_millis(400))?;
        assert_eq!(delays.count(), sent, "{fault}");
        let sorted = delays.flows.into_values().map(|mut flow| {
            flow.sort_unstable();
            flow.into_iter().map(|delay| delay as f64 / 1e6).collect()
        });
        Ok((sorted.collect(), agent.counts(&pair.client_cgroup, 0)?.injected))
    };
    let (flows, injected) = run("delay 100ms jitter 90ms 100% of flows egress udp")?;
    assert_eq!(injected, 320);
    let medians: Vec<f64> = flows.iter().map(|flow| flow[flow.len() / 2]).collect();
    for (flow, median) in flows.iter().zip(&medians) {
        assert!(median - flow[0] < margin(), "{flow:?}");
    }
    let (least, most) = (
        medians.iter().copied().fold(f64::MAX, f64::min),
        medians.iter().copied().fold(0.0, f64::max),
    );
    assert!(most - least > 50.0, "{medians:?}");

    let (flows, injected) = run("delay 100ms 50% of flows egress udp")?;
    let held = flows.iter().filter(|flow| flow[0] >= 100.0).count();
    let free = flows.iter().filter(|flow| flow[flow.len() / 2] < 50.0).count();
    assert_eq!((held + free, held as u64 * 20), (16, injected), "{flows:?}");
    Ok(())
}

#[test]
fn what_is_held_is_sent_on_when_the_fault_ends() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    // A queue of the kernel lets them go when it looks at them next, whichever comes first.
    let longest = Duration::from_millis(600);
    let keeps_order = line(&pair.claim)? == Some(DelayLine::Tap);
    for end in ["disarm", "replace", "deadline"] {
        let [server, _] = pair.addresses();
        let duration = if end == "deadline" { " for 5s" } else { "" };
        let fault = format!("delay 30s udp{duration}");
        let sinks = [(server, pair.server()), (client(server), pair.client())]
            .map(|(bind, place)| Victim::start(UdpDelays { bind }, place));
        let [there, back] = sinks;
        let (there, back) = (there?, back?);
        // Its time begins when everything else is ready.
        let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        for (to, place) in [(there.address(), pair.client()), (back.address(), pair.server())] {
            Victim::run(stamps(to, 100, Duration::ZERO), place)?;
        }
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 200, "{end}");
        let began = Instant::now();
        match end {
            "disarm" => drop(agent.armory.halt("the test ends")),
            "replace" => drop(agent.arm(&pair.client_cgroup, "drop egress tcp")?),
            _ => {
                while agent.armory.tick().is_empty() {
                    sleep(Duration::from_millis(10));
                }
            }
        }
        println!("{end}: took {:?}", began.elapsed());
        sleep(longest);
        for delays in [there.stop()?, back.stop()?] {
            assert_eq!(delays.count(), 100, "{end}");
            assert!(delays.late == 0 || !keeps_order, "{end}: {}", delays.late);
            assert!(delays.milliseconds()[99] < 10_000.0, "{end}");
        }
    }
    Ok(())
}

#[test]
fn two_delays_and_a_reordering_add_up() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let faults = "delay 50ms egress udp; reorder every 10th by 30ms egress udp";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let stamps = stamps(pair.server_end.socket_v4(0), 200, Duration::from_millis(1));
    let (sent, delays) =
        measure(stamps, [pair.client(), pair.server()], Duration::from_millis(300))?;
    let all = delays.milliseconds();
    let more = all.iter().filter(|delay| **delay >= 80.0).count();
    assert_eq!((delays.count(), all[0] >= 50.0), (sent, true), "{all:?}");
    assert!((20..60).contains(&more), "{all:?}");
    assert!(delays.late >= 18, "{}", delays.late);
    let counts = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
    let [delayed, reordered] = counts;
    assert_eq!((delayed?.injected, reordered?.injected), (200, 20));
    Ok(())
}

#[test]
fn loopback_is_held_for_the_target_alone() -> Result<()> {
    const BYTES: u64 = 2_000_000;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let neighbour = TestCgroup::new(&pair.claim, "neighbour")?;
    let neighbour = Place::here().cgroup(&neighbour).netns(&pair.client_netns);
    for ip in [IpAddr::from([127, 0, 0, 1]), "::1".parse()?] {
        // What the target sends, and what is sent to it.
        for (direction, places) in
            [("egress", [pair.client(), neighbour]), ("ingress", [neighbour, pair.client()])]
        {
            let fault = format!("delay 100ms {direction} udp; delay 100ms {direction} tcp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let few = stamps((ip, 0).into(), 50, Duration::from_millis(1));
            let (sent, delays) = measure(few.clone(), places, Duration::from_millis(300))?;
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!((delays.count(), counts.matched), (sent, sent), "{fault}, {ip}");
            // An emulated processor is at times away for so long that frames pass unheld.
            if counts.injected == sent || !is_emulated() {
                assert_eq!(counts.injected, sent, "{fault}, {ip}: {counts:?}");
                assert_in_order(delays.late, sent, &format!("{fault}, {ip}"));
                assert!(delays.milliseconds()[0] >= 100.0, "{fault}, {ip}");
                let median = delays.median();
                assert!(median < 100.0 + margin(), "{fault}, {ip}: {median}");
            }
            let (sent, delays) = measure(few, [neighbour, neighbour], Duration::from_millis(300))?;
            assert_eq!(delays.count(), sent, "{fault}, {ip}");
            assert!(delays.median() < 50.0, "{fault}, {ip}: {}", delays.median());

            let [from, to] = places;
            let receiver = Victim::start(TcpReceive { bind: (ip, 0).into() }, to)?;
            let timeout = Duration::from_secs(20);
            let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout };
            let began = Instant::now();
            let sent = Victim::run(send, from)?;
            let received = receiver.report()?;
            let counts = agent.counts(&pair.client_cgroup, 1)?;
            println!("{fault}, {ip}: {:?}, {counts:?}", began.elapsed());
            assert_eq!((sent.error, received.error), (None, None), "{fault}, {ip}");
            assert_eq!((received.bytes, received.wrong_bytes), (BYTES, 0), "{fault}, {ip}");
            let is_held = counts.matched == counts.injected;
            assert!(is_held || is_emulated(), "{fault}, {ip}: {counts:?}");
        }
    }
    Ok(())
}
