//! `limit`: no more arrives than the rate allows, and not much less.

mod flows;

use std::{
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use chaos_api::Counts;
use chaos_tests::{
    clock::is_emulated,
    job::{TcpReceive, TcpSend, UdpDelays, UdpSend, UdpSink, UdpStamps},
    process::Place,
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_line},
    pair::Pair,
};

const PAYLOAD: u64 = 1000;
/// Ethernet, IPv4, UDP.
const HEADERS: u64 = 14 + 20 + 8;

/// What is queued at a time: a second's worth.
const BACKLOG: Duration = Duration::from_secs(1);

/// What a rate is used of; on an emulated processor, where a sender is at times not through in time,
/// somewhat less.
fn at_least(share: f64) -> f64 {
    if is_emulated() { 0.9 * share } else { share }
}

/// Datagrams for some seconds, a third of which the rate has room for.
struct Overload {
    rate: u64,
    count: u64,
    began: Instant,
    sender: Victim<UdpSend>,
    sink: Victim<UdpSink>,
}

/// What became of them.
struct Outcome {
    sent: u64,
    arrived: u64,
}

impl Overload {
    fn start(rate: u64, bind: SocketAddr, [from, to]: [Place<'_>; 2]) -> Result<Self> {
        let sink = Victim::start(UdpSink { bind }, to)?;
        let seconds = 3;
        let count = 3 * rate * seconds / ((PAYLOAD + HEADERS) * 8);
        let interval = Duration::from_secs(seconds) / u32::try_from(count)?;
        let size = usize::try_from(PAYLOAD)?;
        let send = UdpSend { size, interval, ..UdpSend::new(sink.address(), count) };
        let began = Instant::now();
        Ok(Self { rate, count, began, sender: Victim::start(send, from)?, sink })
    }

    /// Waits until all are sent.
    fn sent(self) -> Result<Sent> {
        let Self { rate, count, began, sender, sink } = self;
        assert_eq!(sender.report()?.total().ok, count);
        Ok(Sent { rate, count, took: began.elapsed(), sink })
    }
}

/// They have been sent, and some of them are queued.
struct Sent {
    rate: u64,
    count: u64,
    took: Duration,
    sink: Victim<UdpSink>,
}

impl Sent {
    /// Waits until all have arrived. They have to be what the rate allows in the time.
    fn arrived(self) -> Result<Outcome> {
        let Self { rate, count, took, sink } = self;
        sleep(BACKLOG + Duration::from_millis(300));
        let arrived = sink.stop()?.received;
        let bits = (arrived * (PAYLOAD + HEADERS) * 8) as f64;
        let share = bits / (rate as f64 * (took + BACKLOG).as_secs_f64());
        println!("{rate} bit/s: {arrived} of {count} in {took:?}, {share:.3} of the rate");
        assert!((at_least(0.93)..1.02).contains(&share), "{rate}: {share}");
        Ok(Outcome { sent: count, arrived })
    }
}

/// The rest was lost and counted.
fn check(Outcome { sent, arrived }: Outcome, counts: &Counts) {
    let counted = (counts.matched, counts.injected, counts.lost);
    assert_eq!(counted, (sent, arrived, sent - arrived), "{counts:?}");
}

#[test]
fn datagrams_beyond_the_rate_queue_and_are_lost() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let server = pair.server_end.socket_v4(0);
    let client: SocketAddr = ([10, 200, 0, 1], 0).into();
    for rate in [100_000, 1_000_000, 10_000_000] {
        for (direction, bind, places) in [
            ("egress", server, [pair.client(), pair.server()]),
            ("ingress", client, [pair.server(), pair.client()]),
        ] {
            let fault = format!("limit {rate}bit {direction} udp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let outcome = Overload::start(rate, bind, places)?.sent()?.arrived()?;
            check(outcome, &agent.counts(&pair.client_cgroup, 0)?);
        }
    }
    Ok(())
}

/// What is sent at once waits for as long as the queue is, and what would wait longer is lost.
#[test]
fn a_packet_waits_as_long_as_the_queue_allows() -> Result<()> {
    const COUNT: u64 = 2000;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let bind = pair.server_end.socket_v4(0);
    for (fault, queue) in [
        ("limit 1mbit queue 50ms egress udp", 50.0),
        ("limit 1mbit per flow queue 200ms egress udp", 200.0),
    ] {
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let receiver = Victim::start(UdpDelays { bind }, pair.server())?;
        let to = receiver.address();
        let stamps = UdpStamps { to, count: COUNT, flows: 1, interval: Duration::ZERO };
        assert_eq!(Victim::run(stamps, pair.client())?.sent, COUNT);
        sleep(Duration::from_millis(500));
        let delays = receiver.stop()?;
        let longest = delays.milliseconds().pop().context("some arrive")?;
        println!("{fault}: {} of {COUNT}, {longest:.1} ms at most", delays.count());
        assert!((queue - 2.0..queue + 50.0).contains(&longest) || is_emulated(), "{longest}");
        assert!(delays.count() < COUNT / 2, "{}", delays.count());
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        let counted = (counts.matched, counts.injected, counts.lost);
        assert_eq!(counted, (COUNT, delays.count(), COUNT - delays.count()), "{fault}: {counts:?}");
    }
    Ok(())
}

#[test]
fn each_direction_has_the_rate_to_itself() -> Result<()> {
    const RATE: u64 = 1_000_000;
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "limit 1mbit udp")?;
    let server = pair.server_end.socket_v4(0);
    let client: SocketAddr = ([10, 200, 0, 1], 0).into();
    let there = Overload::start(RATE, server, [pair.client(), pair.server()])?;
    let back = Overload::start(RATE, client, [pair.server(), pair.client()])?;
    let [there, back] = [there.sent()?, back.sent()?];
    let [there, back] = [there.arrived()?, back.arrived()?];
    let both = Outcome { sent: there.sent + back.sent, arrived: there.arrived + back.arrived };
    check(both, &agent.counts(&pair.client_cgroup, 0)?);
    Ok(())
}

/// The share of full frames that is TCP's payload, of what an interface with 1500 bytes takes: beside
/// the Ethernet header there are IP's and TCP's, with time stamps.
fn payload(bind: SocketAddr) -> f64 {
    let headers = if bind.is_ipv4() { 20.0 } else { 40.0 } + 32.0;
    (1500.0 - headers) / 1514.0
}

/// Also where a frame is one of many segments, with all of their headers.
#[test]
fn a_stream_takes_the_rate_and_arrives_whole() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for (rate, bytes, direction, target) in [
        (1_000_000, 500_000, "egress", &pair.client_cgroup),
        (100_000_000, 30_000_000, "egress", &pair.client_cgroup),
        (100_000_000, 30_000_000, "ingress", &pair.server_cgroup),
    ] {
        for bind in pair.addresses() {
            let fault = format!("limit {rate}bit {direction} tcp");
            let agent = Agent::armed(&pair.claim, target, &fault)?;
            let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
            let timeout = Duration::from_secs(20);
            let send = TcpSend { to: receiver.address(), bytes, timeout };
            let sent = Victim::run(send, pair.client())?;
            let received = receiver.report()?;
            let counts = agent.counts(target, 0)?;
            assert_eq!((sent.error, received.error), (None, None), "{fault}, {bind}");
            assert_eq!((received.bytes, received.wrong_bytes), (bytes, 0), "{fault}, {bind}");
            let measured = received.arrival.context("nothing arrived")?.bits_per_second(bytes);
            let share = measured / (rate as f64 * payload(bind));
            println!("{fault}, {bind}: {share:.3} of the payload that fits, {counts:?}");
            assert!(share < 1.02, "{fault}, {bind}: {share}");
            // A machine that is busy is behind at times, and an emulated one reaches no great rate.
            let is_reached = share > 0.9 || is_emulated() && rate > 1_000_000;
            assert!(is_reached, "{fault}, {bind}: {share}");
        }
    }
    Ok(())
}
