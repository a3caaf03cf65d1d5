//! `limit … per flow`: every flow has the rate, whatever the others do.

use std::{
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use chaos_tests::{
    job::{TcpReceive, TcpSend, UdpSend, UdpSink},
    process::Place,
    require,
    victim::Victim,
};

use super::{BACKLOG, HEADERS, PAYLOAD, at_least};
use crate::{
    agent::{Agent, has_line},
    pair::Pair,
};

const RATE: u64 = 1_000_000;
const SECONDS: u64 = 3;

/// The share of the rate that each of two flows gets that are sent at once, three times the rate each.
fn shares(bind: SocketAddr, [from, to]: [Place<'_>; 2]) -> Result<([f64; 2], u64)> {
    let more = if bind.is_ipv6() { 20 } else { 0 };
    let bits = (PAYLOAD + HEADERS + more) * 8;
    let sink = Victim::start(UdpSink { bind }, to)?;
    let each = 3 * RATE * SECONDS / bits;
    let interval = Duration::from_secs(SECONDS) / u32::try_from(each)?;
    let size = usize::try_from(PAYLOAD)?;
    let send =
        UdpSend { size, interval, flows: 2, threads: 2, ..UdpSend::new(sink.address(), 2 * each) };
    let began = Instant::now();
    let sent = Victim::run(send, from)?.total().ok;
    let took = began.elapsed();
    sleep(BACKLOG + Duration::from_millis(300));
    let flows = sink.stop()?.flows;
    let share = |flow: u32| {
        let arrived = flows.get(&flow).map_or(0, |flow| flow.sequences.len());
        (arrived * bits) as f64 / (RATE as f64 * (took + BACKLOG).as_secs_f64())
    };
    Ok(([share(0), share(1)], sent))
}

#[test]
fn two_flows_have_the_rate_each_where_they_would_share_it() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let [v4, v6] = pair.addresses();
    let client: SocketAddr = ([10, 200, 0, 1], 0).into();
    for (clause, all) in [("per flow", 2.0), ("", 1.0)] {
        for (direction, bind, places) in [
            ("egress", v4, [pair.client(), pair.server()]),
            ("egress", v6, [pair.client(), pair.server()]),
            ("ingress", client, [pair.server(), pair.client()]),
        ] {
            let fault = format!("limit {RATE}bit {clause} {direction} udp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let (shares, sent) = shares(bind, places)?;
            println!("{fault}, {bind}: {shares:.3?} of the rate");
            let sum: f64 = shares.iter().sum();
            assert!((0.95 * all..1.02 * all).contains(&sum), "{fault}, {bind}: {shares:?}");
            if all == 2.0 {
                let exact = shares.iter().all(|share| (at_least(0.95)..1.02).contains(share));
                assert!(exact, "{fault}, {bind}: {shares:?}");
            }
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!((counts.matched, counts.injected + counts.lost), (sent, sent), "{counts:?}");
        }
    }
    Ok(())
}

#[test]
fn streams_do_not_slow_each_other() -> Result<()> {
    const BYTES: u64 = 1_000_000;
    const STREAMS: usize = 4;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "limit 5mbit per flow egress tcp")?;
    for bind in pair.addresses() {
        let receivers = [(); STREAMS].map(|()| Victim::start(TcpReceive { bind }, pair.server()));
        let receivers = receivers.into_iter().collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        let senders = receivers
            .iter()
            .map(|receiver| {
                let timeout = Duration::from_secs(20);
                let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout };
                Victim::start(send, pair.client())
            })
            .collect::<Result<Vec<_>>>()?;
        for sender in senders {
            assert_eq!(sender.report()?.error, None, "{bind}");
        }
        for receiver in receivers {
            let received = receiver.report()?;
            assert_eq!((received.bytes, received.wrong_bytes), (BYTES, 0), "{bind}");
        }
        let took = began.elapsed().as_secs_f64();
        let share = (BYTES * 8) as f64 / took / 5e6;
        println!("{bind}: {STREAMS} streams took {took:.2} s, {share:.3} of the rate each");
        // Together they would take four times as long.
        assert!((at_least(0.5)..1.0).contains(&share), "{bind}: {share}");
    }
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!(counts.matched, counts.injected + counts.lost, "{counts:?}");
    Ok(())
}

#[test]
fn more_flows_than_are_told_apart_still_arrive() -> Result<()> {
    const FLOWS: u32 = 6000;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    // At this rate a datagram takes half a second: most of them wait at once.
    let fault = "limit 10kbit per flow egress udp";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let to = sink.address();
    // One process may not have so many sockets open.
    let sent: u64 = (0..FLOWS / 500)
        .map(|_| {
            let send = UdpSend { size: 583, flows: 500, threads: 1, ..UdpSend::new(to, 500) };
            anyhow::Ok(Victim::run(send, pair.client())?.total().ok)
        })
        .sum::<Result<u64>>()?;
    sleep(BACKLOG + BACKLOG);
    let received = sink.stop()?.received;
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!((sent, counts.matched), (u64::from(FLOWS), u64::from(FLOWS)), "{counts:?}");
    assert_eq!((received, counts.injected + counts.lost), (counts.injected, sent), "{counts:?}");
    // Guests wait for their hosts, and some would wait for more than a second.
    assert!(counts.lost < sent / 10, "{counts:?}");
    Ok(())
}
