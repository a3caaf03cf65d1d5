//! `fail`: calls return the errno asked for, as many as the ledger says.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use chaos_tests::{
    job::{Call, Repeated, SocketKind, TcpServe, UdpSend, UdpSink},
    require,
    stats::binomial_interval,
    tally::Tally,
    victim::Victim,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{agent::Agent, pair::Pair};

const CALLS: u64 = 2_000;

/// `address` as an IPv6 socket names it (RFC 4291 §2.5.5.2).
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => address,
    }
}

fn connect(to: SocketAddr) -> Repeated {
    Repeated::Connect { to, nonblocking: false, timeout: Duration::from_secs(10) }
}

/// Arms a fault for the client, has it make [`CALLS`] calls on two CPUs, and reconciles what it
/// saw with the ledger.
fn reconcile(pair: &Pair, fault: &str, what: Repeated, errno: &str) -> Result<Tally> {
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let call = Call { threads: 2, ..Call::new(what, CALLS) };
    let total = Victim::run(call, pair.client())?.total();
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!(counts.matched, CALLS, "{fault}: {counts:?}");
    assert_eq!(total.failed_with(errno), counts.injected, "{fault}: {:?}", total.errors);
    assert_eq!(total.failed(), counts.injected, "{fault}: {:?}", total.errors);
    assert!((1..CALLS).contains(&counts.injected), "{fault}: {counts:?}");
    Ok(total)
}

#[test]
fn connect_fails_and_the_server_sees_the_others() -> Result<()> {
    let pair = Pair::new()?;
    let [v4, v6] = pair.addresses();
    let cases = [
        (v4, false, "ECONNREFUSED"),
        (v6, false, "ETIMEDOUT"),
        (v6, true, "ENETUNREACH"),
        (mapped(v4), false, "EHOSTUNREACH"),
    ];
    for (bind, nonblocking, errno) in cases {
        let server = Victim::start(TcpServe { bind }, pair.server())?;
        let to = server.address();
        let network = if to.is_ipv4() || to != bind && bind == mapped(v4) {
            "10.200.0.0/24"
        } else {
            "fd00:200::/32"
        };
        let fault = format!("fail connect with {errno} 30% tcp to {network} port {}", to.port());
        let timeout = Duration::from_secs(10);
        let total =
            reconcile(&pair, &fault, Repeated::Connect { to, nonblocking, timeout }, errno)?;
        assert_eq!(server.stop()?.accepted, total.ok, "{fault}");
    }
    Ok(())
}

#[test]
fn bind_fails() -> Result<()> {
    let pair = Pair::new()?;
    let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let cases = [
        (SocketKind::Tcp4, any4, "tcp", "EADDRINUSE"),
        (SocketKind::Udp4, any4, "udp from 0.0.0.0", "EADDRNOTAVAIL"),
        (SocketKind::Tcp6, any6, "tcp from ::", "EACCES"),
        (SocketKind::Udp6, any6, "udp", "EINVAL"),
        (SocketKind::Udp6, mapped((Ipv4Addr::LOCALHOST, 0).into()), "from 127.0.0.0/8", "ENOMEM"),
    ];
    for (kind, address, clauses, errno) in cases {
        let fault = format!("fail bind with {errno} 30% {clauses}");
        reconcile(&pair, &fault, Repeated::Bind { kind, address }, errno)?;
    }
    Ok(())
}

#[test]
fn socket_and_its_options_fail() -> Result<()> {
    let pair = Pair::new()?;
    let socket = |kind| Repeated::Socket { kind };
    let cases = [
        ("fail socket with EMFILE 30% tcp", socket(SocketKind::Tcp4), "EMFILE"),
        ("fail socket with ENFILE 30% tcp", socket(SocketKind::Tcp6), "ENFILE"),
        ("fail socket with ENOBUFS 30% udp", socket(SocketKind::Udp4), "ENOBUFS"),
        ("fail socket with EACCES 30%", socket(SocketKind::Udp6), "EACCES"),
        ("fail setsockopt with ENOPROTOOPT 30%", Repeated::SetSockopt, "ENOPROTOOPT"),
        ("fail getsockopt with EINVAL 30% tcp", Repeated::GetSockopt, "EINVAL"),
    ];
    for (fault, what, errno) in cases {
        reconcile(&pair, fault, what, errno)?;
    }
    Ok(())
}

#[test]
fn sendto_fails_and_what_was_sent_arrives() -> Result<()> {
    let pair = Pair::new()?;
    let [v4, v6] = pair.addresses();
    let cases = [(v4, false, "ENOBUFS"), (v6, false, "EPERM"), (v4, true, "EHOSTUNREACH")];
    for (bind, is_mapped, errno) in cases {
        let sink = Victim::start(UdpSink { bind }, pair.server())?;
        let fault = format!(
            "fail sendto with {errno} 30% udp to {} port {}",
            bind.ip(),
            sink.address().port()
        );
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let to = if is_mapped { mapped(sink.address()) } else { sink.address() };
        let send = UdpSend { connected: false, flows: 2, threads: 2, ..UdpSend::new(to, CALLS) };
        let sent = Victim::run(send, pair.client())?.total();
        let sunk = sink.stop()?;
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert_eq!((counts.matched, counts.injected), (CALLS, sent.failed_with(errno)), "{fault}");
        assert_eq!((sunk.received, sunk.corrupted), (sent.ok, 0), "{fault}");
        assert_eq!(sent.ok, CALLS - counts.injected, "{fault}: {:?}", sent.errors);
    }
    Ok(())
}

#[test]
fn errnos_are_picked_by_their_weights() -> Result<()> {
    const MANY: u64 = 40_000;
    let pair = Pair::new()?;
    let fault = "fail connect with ECONNREFUSED*5, ETIMEDOUT*3, ENETUNREACH";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let call = Call { threads: 2, ..Call::new(connect(pair.server_end.socket_v4(9)), MANY) };
    let total = Victim::run(call, pair.client())?.total();
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, MANY);
    assert_eq!(total.failed(), MANY);
    for (errno, weight) in [("ECONNREFUSED", 5.0), ("ETIMEDOUT", 3.0), ("ENETUNREACH", 1.0)] {
        let (low, high) = binomial_interval(MANY, weight / 9.0, 0.999);
        let picked = total.failed_with(errno);
        println!("{errno}: {picked} in {low}..={high}");
        assert!((low..=high).contains(&picked), "{errno}: {picked} not in {low}..={high}");
    }
    Ok(())
}

/// The protocol of an MPTCP socket is a number that 8 bits do not hold. To whoever opened it, it is TCP.
#[test]
fn mptcp_sockets_are_tcp() -> Result<()> {
    let pair = Pair::new()?;
    let open = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map(drop);
    require!("MPTCP"; open());
    let server = Victim::start(TcpServe { bind: pair.addresses()[0] }, pair.server())?;
    let (to, timeout) = (server.address(), Duration::from_secs(10));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let kind = SocketKind::Mptcp4;
    let calls = [
        ("socket", "EMFILE", Repeated::Socket { kind }),
        ("bind", "EADDRINUSE", Repeated::Bind { kind, address }),
        ("connect", "ECONNREFUSED", Repeated::ConnectMptcp { to, timeout }),
    ];
    for (call, errno, what) in calls {
        for (protocol, hit) in [("tcp", 20), ("udp", 0)] {
            let fault = format!("fail {call} with {errno} {protocol}");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let total = Victim::run(Call::new(what.clone(), 20), pair.client())?.total();
            assert_eq!(total.failed_with(errno), hit, "{fault}: {:?}", total.errors);
            assert_eq!(total.ok, 20 - hit, "{fault}: {:?}", total.errors);
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            // A connection has a subflow, whose sockets are the target's, too.
            assert!(counts.injected >= hit && (hit > 0 || counts.matched == 0), "{counts:?}");
        }
    }
    Ok(())
}
