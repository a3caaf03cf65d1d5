//! `duplicate`: what the receiver gets twice is what the ledger says.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{TcpReceive, TcpSend, UdpSend, UdpSink},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames},
    checksums::Counters,
    pair::Pair,
};

const DATAGRAMS: u64 = 10_000;
const BYTES: u64 = 2_000_000;

fn sides(pair: &Pair) -> [(&'static str, &TestCgroup); 2] {
    [("egress", &pair.client_cgroup), ("ingress", &pair.server_cgroup)]
}

#[test]
fn datagrams_arrive_twice() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for (direction, target) in sides(&pair) {
            let sink = Victim::start(UdpSink { bind }, pair.server())?;
            let other = Victim::start(UdpSink { bind }, pair.server())?;
            let port = sink.address().port();
            let fault = format!("duplicate 30% {direction} udp to {} port {port}", bind.ip());
            let agent = Agent::armed(&pair.claim, target, &fault)?;
            for to in [sink.address(), other.address()] {
                let send = UdpSend { flows: 2, threads: 2, ..UdpSend::new(to, DATAGRAMS) };
                assert_eq!(Victim::run(send, pair.client())?.total().ok, DATAGRAMS, "{fault}");
            }
            let (received, other) = (sink.stop()?, other.stop()?);
            let counts = agent.counts(target, 0)?;
            assert_eq!(counts.matched, DATAGRAMS, "{fault}: {counts:?}");
            assert!((1..DATAGRAMS).contains(&counts.injected), "{fault}: {counts:?}");
            assert_eq!(received.duplicates(), counts.injected, "{fault}");
            assert_eq!((received.distinct(), received.corrupted), (DATAGRAMS, 0), "{fault}");
            assert_eq!((other.received, other.duplicates()), (DATAGRAMS, 0), "{fault}");
        }
    }
    Ok(())
}

/// Every datagram of a conversation within one namespace passes `lo` twice: it leaves and arrives.
#[test]
fn loopback_has_both_directions() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        for (direction, times) in [("egress", 2), ("ingress", 2), ("", 4)] {
            let sink = Victim::start(UdpSink { bind: bind.parse()? }, pair.client())?;
            let port = sink.address().port();
            let fault = format!("duplicate {direction} udp port {port}");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            Victim::run(UdpSend::new(sink.address(), 500), pair.client())?;
            let received = sink.stop()?;
            assert_eq!(received.received, 500 * times, "{fault}");
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!(counts.injected, 500 * (times - 1), "{fault}");
        }
    }
    Ok(())
}

/// One stream: segments that the server got beyond those that the client sent, and copies made.
fn stream(pair: &Pair, bind: SocketAddr, side: (&str, &TestCgroup)) -> Result<(i64, u64)> {
    let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
    let (direction, target) = side;
    let port = receiver.address().port();
    let fault = format!("duplicate 20% {direction} tcp to {} port {port}", bind.ip());
    let agent = Agent::armed(&pair.claim, target, &fault)?;
    let beyond = || -> Result<i64> {
        let client = Counters::read(&pair.client_netns)?;
        // What is sent again is not among what is sent.
        let sent = client.of("Tcp.OutSegs") + client.of("Tcp.RetransSegs");
        Ok(Counters::read(&pair.server_netns)?.of("Tcp.InSegs") as i64 - sent as i64)
    };
    let before = beyond()?;
    let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout: Duration::from_secs(30) };
    let sent = Victim::run(send, pair.client())?;
    let received = receiver.report()?;
    // The last acknowledgements are on their way.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((sent.bytes, sent.error), (BYTES, None), "{fault}");
    assert_eq!((received.bytes, received.wrong_bytes), (BYTES, 0), "{fault}: {received:?}");
    let injected = agent.counts(target, 0)?.injected;
    assert!(injected > 0, "{fault}");
    Ok((beyond()? - before, injected))
}

#[test]
fn a_stream_survives_copies_of_its_segments() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in sides(&pair) {
            stream(&pair, bind, side)?;
        }
    }
    // A packet that is segmented later counts as one where it arrives whole.
    pair.client_netns.ip("link set eth0 gso_max_segs 1\n")?;
    for bind in pair.addresses() {
        for side in sides(&pair) {
            let (beyond, copies) = stream(&pair, bind, side)?;
            assert_eq!(beyond, copies as i64, "{bind} {}", side.0);
        }
    }
    Ok(())
}
