//! `drop` and `corrupt`: what is lost or wrong at the receiver is what the ledger says.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated, StreamReceived, Sunk, TcpReceive, TcpSend, TcpServe, UdpSend, UdpSink},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames},
    checksums::Counters,
    pair::Pair,
};

const DATAGRAMS: u64 = 20_000;
const BYTES: u64 = 4_000_000;

/// Which side of the pair is the target.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The direction of what the client sends, as the target sees it.
    fn direction(self) -> &'static str {
        match self {
            Self::Client => "egress",
            Self::Server => "ingress",
        }
    }

    fn cgroup(self, pair: &Pair) -> &TestCgroup {
        match self {
            Self::Client => &pair.client_cgroup,
            Self::Server => &pair.server_cgroup,
        }
    }
}

struct Seen<R> {
    received: R,
    counts: Counts,
    /// Packets that the server's network stack discarded.
    noticed: u64,
    retransmitted: u64,
}

/// Sends [`DATAGRAMS`] on two CPUs under a fault such as `drop 50%`.
fn send_datagrams(pair: &Pair, bind: SocketAddr, side: Side, what: &str) -> Result<Seen<Sunk>> {
    let sink = Victim::start(UdpSink { bind }, pair.server())?;
    let port = sink.address().port();
    let fault = format!("{what} {} udp to {} port {port}", side.direction(), bind.ip());
    let agent = Agent::armed(&pair.claim, side.cgroup(pair), &fault)?;
    let before = Counters::read(&pair.server_netns)?;
    let send = UdpSend { flows: 2, threads: 2, ..UdpSend::new(sink.address(), DATAGRAMS) };
    let sent = Victim::run(send, pair.client())?.total();
    let received = sink.stop()?;
    let after = Counters::read(&pair.server_netns)?;
    let counts = agent.counts(side.cgroup(pair), 0)?;
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{fault}: {:?}", sent.errors);
    assert_eq!(counts.matched, DATAGRAMS, "{fault}: {counts:?}");
    assert!((1..DATAGRAMS).contains(&counts.injected), "{fault}: {counts:?}");
    assert_eq!((received.duplicates(), received.unrecognisable), (0, 0), "{fault}");
    let noticed = after.checksum_errors() - before.checksum_errors();
    Ok(Seen { received, counts, noticed, retransmitted: 0 })
}

/// Sends one TCP stream of [`BYTES`] under a fault.
fn send_stream(
    pair: &Pair,
    bind: SocketAddr,
    side: Side,
    what: &str,
) -> Result<Seen<StreamReceived>> {
    let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
    let port = receiver.address().port();
    let fault = format!("{what} {} tcp to {} port {port}", side.direction(), bind.ip());
    let agent = Agent::armed(&pair.claim, side.cgroup(pair), &fault)?;
    let before = [&pair.server_netns, &pair.client_netns].map(Counters::read);
    let timeout = Duration::from_secs(30);
    let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout };
    let sent = Victim::run(send, pair.client())?;
    let received = receiver.report()?;
    let after = [&pair.server_netns, &pair.client_netns].map(Counters::read);
    let counts = agent.counts(side.cgroup(pair), 0)?;
    assert_eq!((sent.bytes, sent.error), (BYTES, None), "{fault}");
    assert_eq!((received.bytes, &received.error), (BYTES, &None), "{fault}");
    assert!(counts.injected > 0, "{fault}: {counts:?}");
    let [server, client] = before;
    let [server_after, client_after] = after;
    Ok(Seen {
        received,
        counts,
        noticed: server_after?.checksum_errors() - server?.checksum_errors(),
        retransmitted: client_after?.of("Tcp.RetransSegs") - client?.of("Tcp.RetransSegs"),
    })
}

#[test]
fn dropped_datagrams_are_lost_both_ways() -> Result<()> {
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let Seen { received, counts, noticed, .. } =
                send_datagrams(&pair, bind, side, "drop 50%")?;
            assert_eq!(received.received, DATAGRAMS - counts.injected, "{bind} {side:?}");
            assert_eq!((received.corrupted, noticed), (0, 0), "{bind} {side:?}");
        }
    }
    Ok(())
}

#[test]
fn a_stream_survives_drops_unchanged() -> Result<()> {
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let seen = send_stream(&pair, bind, side, "drop every 20th")?;
            assert_eq!(seen.received.wrong_bytes, 0, "{bind} {side:?}");
            // The sender's own stack is told of what is lost on its way out, and sends it again
            // without counting that as a retransmission, unless the machine is so busy that a
            // timer is faster.
            let lost_on_the_way = matches!(side, Side::Server);
            assert!(seen.retransmitted > 0 || !lost_on_the_way, "{bind} {side:?}");
        }
    }
    Ok(())
}

#[test]
fn nobody_connects_through_a_partition() -> Result<()> {
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let server = Victim::start(TcpServe { bind }, pair.server())?;
            let to = server.address();
            let fault = format!("drop {} to port {}", side.direction(), to.port());
            let agent = Agent::armed(&pair.claim, side.cgroup(&pair), &fault)?;
            let timeout = Duration::from_millis(50);
            let connect = Repeated::Connect { to, nonblocking: true, timeout };
            let total = Victim::run(Call::new(connect, 3), pair.client())?.total();
            assert_eq!(total.failed_with("TIMEOUT"), 3, "{fault}: {:?}", total.errors);
            assert_eq!(server.stop()?.accepted, 0);
            let counts = agent.counts(side.cgroup(&pair), 0)?;
            assert_eq!(counts.injected, counts.matched, "{fault}: {counts:?}");
            assert!(counts.injected >= 3, "{fault}: {counts:?}");
        }
    }
    Ok(())
}

#[test]
fn corrupted_datagrams_are_discarded_by_their_checksum() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let seen = send_datagrams(&pair, bind, side, "corrupt 30%")?;
            let Seen { received, counts, noticed, .. } = seen;
            assert_eq!(noticed, counts.injected, "{bind} {side:?}: {counts:?}");
            assert_eq!(received.received, DATAGRAMS - noticed, "{bind} {side:?}");
            assert_eq!(received.corrupted, 0, "{bind} {side:?}");
        }
    }
    Ok(())
}

#[test]
fn silently_corrupted_datagrams_reach_the_application() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let seen = send_datagrams(&pair, bind, side, "corrupt 30% silent")?;
            let Seen { received, counts, noticed, .. } = seen;
            assert_eq!((received.received, noticed), (DATAGRAMS, 0), "{bind} {side:?}");
            assert_eq!(received.corrupted, counts.injected, "{bind} {side:?}: {counts:?}");
            assert_eq!(received.wrong_bytes, counts.injected, "{bind} {side:?}: {counts:?}");
        }
    }
    Ok(())
}

#[test]
fn a_stream_survives_corruption_unchanged() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let seen = send_stream(&pair, bind, side, "corrupt every 20th")?;
            assert_eq!(seen.received.wrong_bytes, 0, "{bind} {side:?}");
            // Those that are segmented later, and IPv6, are lost instead.
            assert!(seen.noticed <= seen.counts.injected, "{bind} {side:?}");
        }
    }
    Ok(())
}

#[test]
fn a_silently_corrupted_stream_has_wrong_bytes_and_right_checksums() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in Side::BOTH {
            let seen = send_stream(&pair, bind, side, "corrupt 10% silent")?;
            let Seen { received, counts, noticed, retransmitted } = seen;
            let wrong = received.wrong_bytes;
            println!("{bind} {side:?}: {wrong} wrong bytes, {counts:?}");
            assert_eq!(noticed, 0, "{bind} {side:?}");
            // What the receiver had already, it does not take again.
            if retransmitted == 0 {
                assert_eq!(wrong, counts.injected, "{bind} {side:?}: {counts:?}");
            } else {
                assert!((1..=counts.injected).contains(&wrong), "{bind} {side:?}: {counts:?}");
            }
        }
    }
    Ok(())
}
