//! `corrupt silent`: where in a payload bits are flipped.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_tests::{job::UdpSend, payload, process::Process, require, victim::Victim};

use crate::{
    agent::{Agent, has_frames},
    pair::Pair,
};

const DATAGRAMS: u64 = 400;
const PARTS: usize = 8;

/// Longer than a datagram takes, also on an emulated machine.
const SILENCE: Duration = Duration::from_secs(5);

/// Receives datagrams of known payloads until there have been so many, or none comes any more. The
/// places of the bytes that are wrong.
fn wrong_places(socket: &UdpSocket) -> Result<Vec<usize>> {
    socket.set_read_timeout(Some(SILENCE))?;
    let (mut bytes, mut scratch, mut places) = (vec![0; 65536], Vec::new(), Vec::new());
    for _ in 0..DATAGRAMS {
        let Ok(length) = socket.recv(&mut bytes) else { break };
        let received = &bytes[..length];
        let identity = payload::inspect(received, &mut scratch).identity;
        let mut sent = vec![0; length];
        payload::fill(&mut sent, identity.context("a payload is not recognised")?);
        let differ = |at: &usize| received[*at] != sent[*at];
        let wrong: Vec<usize> = (0..length).filter(differ).collect();
        let [at] = wrong[..] else { anyhow::bail!("wrong bytes at {wrong:?}") };
        assert_eq!((received[at] ^ sent[at]).count_ones(), 1, "one bit");
        places.push(at);
    }
    Ok(places)
}

#[test]
fn any_byte_of_a_datagram_can_be_hit() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    // On loopback the longest is one frame.
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for size in [600, 1400, 8000] {
        let socket = pair.client_netns.run(|| UdpSocket::bind(bind))?.context("bind")?;
        let to = socket.local_addr()?;
        let fault = format!("corrupt silent egress udp to port {}", to.port());
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let receiver = std::thread::spawn(move || wrong_places(&socket));
        let interval = Duration::from_micros(500);
        let send = UdpSend { size, interval, ..UdpSend::new(to, DATAGRAMS) };
        Victim::run(send, pair.client())?;
        let places = receiver.join().expect("the receiver does not panic")?;
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert_eq!(counts.injected, DATAGRAMS, "{size}: {counts:?}");
        let mut hits = [0; PARTS];
        places.iter().for_each(|at| hits[at * PARTS / size] += 1);
        println!("{size} bytes: {} datagrams, hits by part {hits:?}", places.len());
        assert!(hits.iter().all(|hits| *hits > 0), "{size} bytes: {hits:?}");
    }
    Ok(())
}

const CONNECTIONS: usize = 40;
/// Ten segments, as many as a connection may send at first: one frame for an interface that segments.
const WRITE: usize = 10 * SEGMENT;
const SEGMENT: usize = 1448;

/// Connects again and again, and writes so many zeroes at once.
const SEND: &str = r#"
use Socket;
my ($host, $port, $connections, $bytes) = @ARGV;
for (1..$connections) {
    socket(S, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
    connect(S, pack_sockaddr_in($port, inet_aton($host))) or die "connect: $!";
    syswrite(S, "\0" x $bytes) == $bytes or die "write: $!";
    close(S);
}
"#;

#[test]
fn any_segment_of_a_frame_can_be_hit() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let bind = pair.server_end.socket_v4(0);
    let listener = pair.server_netns.run(|| TcpListener::bind(bind))?.context("bind")?;
    let to = listener.local_addr()?;
    let fault = format!("corrupt silent egress tcp to port {}", to.port());
    let _agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    let mut perl = Command::new("perl");
    perl.args(["-e", SEND, &to.ip().to_string(), &to.port().to_string()]);
    perl.args([CONNECTIONS, WRITE].map(|number| number.to_string()));
    let _sender = Process::spawn(perl, pair.client())?;
    let mut first = Vec::new();
    for _ in 0..CONNECTIONS {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len(), WRITE);
        first.push(bytes.iter().position(|byte| *byte != 0).context("a stream is not damaged")?);
    }
    first.sort_unstable();
    println!("first wrong bytes: {first:?}");
    // Of the first frame of each: one in ten is in its first segment.
    assert!(first.iter().any(|at| *at >= SEGMENT), "{first:?}");
    Ok(())
}
