//! `reset`: both ends of a connection are told, and by errno as often as the ledger says.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated, StreamReceived, StreamSent, TcpReceive, TcpSend, TcpServe, TcpServed},
    process::Place,
    require,
    stats::binomial_interval,
    tally::Tally,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames},
    checksums::Counters,
    pair::Pair,
};

const CONNECTS: u64 = 300;
const BYTES: u64 = 50_000_000;
const TIMEOUT: Duration = Duration::from_secs(10);

fn sides(pair: &Pair) -> [(&'static str, &TestCgroup); 2] {
    [("egress", &pair.client_cgroup), ("ingress", &pair.server_cgroup)]
}

struct Connected {
    client: Tally,
    server: TcpServed,
    counts: Counts,
}

/// Connects again and again under `reset WHAT DIRECTION tcp to` the server.
fn connect(
    pair: &Pair,
    bind: SocketAddr,
    (direction, target): (&str, &TestCgroup),
    what: &str,
) -> Result<Connected> {
    let server = Victim::start(TcpServe { bind }, pair.server())?;
    let to = server.address();
    let fault = format!("reset {what} {direction} tcp to {} port {}", to.ip(), to.port());
    let agent = Agent::armed(&pair.claim, target, &fault)?;
    let connect = Repeated::Connect { to, nonblocking: false, timeout: TIMEOUT };
    let client = Victim::run(Call::new(connect, CONNECTS), pair.client())?.total();
    let server = server.stop()?;
    Ok(Connected { client, server, counts: agent.counts(target, 0)? })
}

#[test]
fn connecting_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for side in sides(&pair) {
            let Connected { client, server, counts } = connect(&pair, bind, side, "")?;
            assert_eq!(client.failed_with("ECONNREFUSED"), CONNECTS, "{:?}", client.errors);
            assert_eq!((counts.matched, counts.injected), (CONNECTS, CONNECTS), "{counts:?}");
            assert_eq!(server.accepted, 0, "{bind} {}", side.0);
        }
    }
    Ok(())
}

#[test]
fn a_flow_is_refused_or_left_alone() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let (least, most) = binomial_interval(CONNECTS, 0.3, 0.999);
    for side in sides(&pair) {
        let bind = pair.server_end.socket_v4(0);
        let Connected { client, server, counts } = connect(&pair, bind, side, "30% of flows")?;
        let refused = client.failed_with("ECONNREFUSED");
        assert!((least..=most).contains(&refused), "{refused} not in {least}..={most}");
        assert_eq!((client.ok, server.accepted), (CONNECTS - refused, CONNECTS - refused));
        // A flow is asked about with each of its segments.
        assert_eq!(counts.injected, refused, "{}: {counts:?}", side.0);
    }
    Ok(())
}

struct Streamed {
    sent: StreamSent,
    received: StreamReceived,
    counts: Counts,
}

/// A stream from one place to another, of which one segment is hit.
fn stream(
    pair: &Pair,
    bind: SocketAddr,
    places: [Place<'_>; 2],
    target: &TestCgroup,
    clauses: &str,
) -> Result<Streamed> {
    let [from, to] = places;
    let receiver = Victim::start(TcpReceive { bind }, to)?;
    let port = receiver.address().port();
    let fault =
        format!("reset every 50th {} at most 1", clauses.replace("PORT", &port.to_string()));
    let agent = Agent::armed(&pair.claim, target, &fault)?;
    let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout: TIMEOUT };
    let sent = Victim::run(send, from)?;
    let received = receiver.report()?;
    Ok(Streamed { sent, received, counts: agent.counts(target, 0)? })
}

impl Streamed {
    fn assert_reset(&self, what: &str) {
        let Self { sent, received, counts } = self;
        assert_eq!(counts.injected, 1, "{what}: {counts:?}");
        assert!(sent.bytes < BYTES, "{what}: {sent:?}");
        assert_eq!(sent.error.as_deref(), Some("ECONNRESET"), "{what}");
        assert_eq!(received.error.as_deref(), Some("ECONNRESET"), "{what}");
        assert_eq!(received.wrong_bytes, 0, "{what}");
    }
}

#[test]
fn both_ends_of_a_stream_are_told() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in pair.addresses() {
        for (target, clauses) in [
            (&pair.client_cgroup, "egress to port PORT"),
            // Acknowledgements.
            (&pair.client_cgroup, "ingress from port PORT"),
            (&pair.server_cgroup, "ingress to port PORT"),
            (&pair.server_cgroup, "egress from port PORT"),
        ] {
            let places = [pair.client(), pair.server()];
            stream(&pair, bind, places, target, clauses)?
                .assert_reset(&format!("{bind} {clauses}"));
        }
    }
    Ok(())
}

#[test]
fn both_ends_on_loopback_are_told() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        for clauses in ["egress to port PORT", "ingress to port PORT", "port PORT"] {
            let places = [pair.client(), pair.client()];
            let target = &pair.client_cgroup;
            let streamed = stream(&pair, bind.parse()?, places, target, clauses)?;
            streamed.assert_reset(&format!("{bind} {clauses}"));
        }
    }
    Ok(())
}

#[test]
fn a_neighbours_stream_goes_on() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let bind = pair.server_end.socket_v4(0);
    let [hit, spared] = [0, 1].map(|_| Victim::start(TcpReceive { bind }, pair.server()));
    let [hit, spared] = [hit?, spared?];
    let fault = format!("reset tcp port {} at most 1", hit.address().port());
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    let send = |to| TcpSend { to, bytes: 1_000_000, timeout: TIMEOUT };
    let senders =
        [hit.address(), spared.address()].map(|to| Victim::start(send(to), pair.client()));
    let [refused, whole] = senders;
    let (refused, whole) = (refused?.report()?, whole?.report()?);
    assert_eq!((refused.bytes, refused.error.as_deref()), (0, Some("ECONNREFUSED")));
    assert_eq!((whole.bytes, whole.error), (1_000_000, None));
    let received = spared.report()?;
    assert_eq!((received.bytes, received.wrong_bytes, received.error), (1_000_000, 0, None));
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 1);
    drop(hit);
    Ok(())
}

/// Devices that leave checksums to nobody: what is wrong would be noticed.
#[test]
fn checksums_are_final_where_the_device_computes_none() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for netns in [&pair.client_netns, &pair.server_netns] {
        netns.without_tx_checksum("eth0")?;
    }
    for bind in pair.addresses() {
        for side in sides(&pair) {
            let before = [&pair.client_netns, &pair.server_netns].map(Counters::read);
            let Connected { client, .. } = connect(&pair, bind, side, "")?;
            assert_eq!(client.failed_with("ECONNREFUSED"), CONNECTS, "{:?}", client.errors);
            let clauses = format!("{} to port PORT", side.0);
            let places = [pair.client(), pair.server()];
            stream(&pair, bind, places, side.1, &clauses)?.assert_reset(&clauses);
            let after = [&pair.client_netns, &pair.server_netns].map(Counters::read);
            for (before, after) in before.into_iter().zip(after) {
                assert_eq!(after?.checksum_errors(), before?.checksum_errors(), "{bind} {clauses}");
            }
        }
    }
    Ok(())
}
