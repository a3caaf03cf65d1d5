//! Victims without any fault: what the other tests measure is the fault and not the set-up.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chaos_tests::{
    job::{
        Call, Repeat, Repeated, SocketKind, TcpReceive, TcpSend, TcpServe, UdpEcho, UdpPing,
        UdpSend, UdpSink,
    },
    victim::Victim,
};

use crate::pair::Pair;

const MANY: u64 = 100_000;

#[test]
fn no_datagram_is_lost_or_changed() -> Result<()> {
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        let sink = Victim::start(UdpSink { bind }, pair.server())?;
        let plain = UdpSend::new(sink.address(), MANY);
        let send = UdpSend { flows: 7, threads: 2, connected: false, ..plain };
        let sent = Victim::run(send, pair.client())?;
        let sunk = sink.stop()?;

        assert_eq!(sent.total().ok, MANY);
        assert_eq!(sent.total().failed(), 0);
        assert_eq!((sunk.received, sunk.distinct(), sunk.duplicates()), (MANY, MANY, 0));
        assert_eq!((sunk.corrupted, sunk.unrecognisable), (0, 0));
        for (flow, lane) in (0..).zip(&sent.lanes) {
            assert!(sunk.flows[&flow].sequences.missing(lane.tally.ok).is_empty(), "flow {flow}");
        }
    }
    Ok(())
}

#[test]
fn every_connect_is_accepted() -> Result<()> {
    let pair = Pair::new()?;
    for (bind, nonblocking) in pair.addresses().into_iter().zip([false, true]) {
        let server = Victim::start(TcpServe { bind }, pair.server())?;
        let timeout = Duration::from_secs(10);
        let connect = Repeated::Connect { to: server.address(), nonblocking, timeout };
        let call = Call { threads: 2, ..Call::new(connect, 20_000) };
        let total = Victim::run(call, pair.client())?.total();
        assert_eq!((total.ok, total.failed()), (20_000, 0), "{:?}", total.errors);
        assert_eq!(server.stop()?.accepted, 20_000);
    }
    Ok(())
}

#[test]
fn a_refused_connect_is_counted_by_its_errno() -> Result<()> {
    let pair = Pair::new()?;
    let to = pair.server_end.socket_v4(9);
    let timeout = Duration::from_secs(10);
    for nonblocking in [false, true] {
        let connect = Repeated::Connect { to, nonblocking, timeout };
        let attempts = Victim::run(Call::new(connect, 10), pair.client())?;
        assert_eq!(attempts.total().failed_with("ECONNREFUSED"), 10);
        assert_eq!(attempts.lanes[0].failed, (0..10).collect());
    }
    Ok(())
}

#[test]
fn an_unanswered_connect_times_out() -> Result<()> {
    let pair = Pair::new()?;
    let mut nobody = pair.server_end.clone();
    nobody.v4 = "10.200.0.77".parse()?;
    pair.client_netns.ip(&format!(
        "neighbour replace {} lladdr 02:00:00:00:00:77 dev {} nud permanent\n",
        nobody.v4, nobody.interface
    ))?;
    for nonblocking in [false, true] {
        let timeout = Duration::from_millis(20);
        let connect = Repeated::Connect { to: nobody.socket_v4(9), nonblocking, timeout };
        let total = Victim::run(Call::new(connect, 2), pair.client())?.total();
        assert_eq!(total.failed_with("TIMEOUT"), 2, "{:?}", total.errors);
    }
    Ok(())
}

#[test]
fn a_stream_arrives_unchanged() -> Result<()> {
    const BYTES: u64 = 10_000_123;
    let pair = Pair::new()?;
    for bind in pair.addresses() {
        let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
        let timeout = Duration::from_secs(10);
        let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout };
        let sent = Victim::run(send, pair.client())?;
        assert_eq!((sent.bytes, sent.error), (BYTES, None));
        let received = receiver.report()?;
        assert_eq!((received.bytes, received.wrong_bytes, received.error), (BYTES, 0, None));
    }
    Ok(())
}

#[test]
fn socket_calls_succeed() -> Result<()> {
    let pair = Pair::new()?;
    let kinds = [SocketKind::Tcp4, SocketKind::Tcp6, SocketKind::Udp4, SocketKind::Udp6];
    let any = |kind| match kind {
        SocketKind::Tcp4 | SocketKind::Udp4 | SocketKind::Mptcp4 => SocketAddr::from(([0; 4], 0)),
        SocketKind::Tcp6 | SocketKind::Udp6 => SocketAddr::from(([0u16; 8], 0)),
    };
    let mut calls = vec![Repeated::GetSockopt, Repeated::SetSockopt, Repeated::Recv];
    calls.extend(kinds.map(|kind| Repeated::Socket { kind }));
    calls.extend(kinds.map(|kind| Repeated::Bind { kind, address: any(kind) }));
    for what in calls {
        let call = Call { threads: 2, ..Call::new(what.clone(), 10_001) };
        let total = Victim::run(call, pair.client())?.total();
        assert_eq!((total.ok, total.failed()), (10_001, 0), "{what:?}: {:?}", total.errors);
    }
    Ok(())
}

#[test]
fn pings_show_when_the_other_side_was_away() -> Result<()> {
    let pair = Pair::new()?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = UdpPing {
        to: echo.address(),
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(1),
        timeout: Duration::from_millis(20),
    };
    let ping = Victim::start(ping, pair.client())?;
    let phase = || std::thread::sleep(Duration::from_millis(100));
    phase();
    echo.signal(nix::sys::signal::Signal::SIGSTOP)?;
    phase();
    echo.signal(nix::sys::signal::Signal::SIGCONT)?;
    phase();
    let pinged = ping.stop()?;
    let spans: Vec<_> = pinged.timeline.iter().map(|span| span.outcome.as_str()).collect();
    assert_eq!(spans, ["ok", "TIMEOUT", "ok"]);
    assert!(pinged.first_failed_at() < pinged.recovered_at());
    assert!(echo.stop()?.received >= pinged.answered());
    Ok(())
}
