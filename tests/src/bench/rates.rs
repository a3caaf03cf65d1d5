//! What arrives under a rate of ours and under tbf's, and what a delay loses under load, as the
//! receivers measure it.

use std::{net::SocketAddr, process::Command, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    injector::{Injector, parse},
    job::{Repeat, TcpReceive, TcpSend, UdpSend, UdpSink},
    process::Process,
    victim::Victim,
};
use xtask::figures::rates::{Load, Measured, Rate};

use crate::{
    rounds::{Effort, median},
    scene::Scene,
    table,
};

/// Bits per second.
const RATES: [u64; 5] = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// An interface takes so many bytes behind the Ethernet header, which has 14.
const MTU: f64 = 1500.0;
const LINK: f64 = 14.0;

/// Payload of a datagram that fills a frame.
const DATAGRAM: usize = 1472;

/// How long each rate is measured.
const SECONDS: f64 = 2.0;
/// And at most so much, where the machine is slower than the rate.
const MOST: u64 = 400_000_000;

/// Whose median is taken.
const TURNS: u32 = 3;

/// For each write.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Traffic {
    Stream {
        v6: bool,
    },
    /// Over IPv4, limited where it arrives.
    Arriving,
    Datagrams,
}

impl Traffic {
    const ALL: [Self; 4] =
        [Self::Stream { v6: false }, Self::Stream { v6: true }, Self::Arriving, Self::Datagrams];

    fn name(self) -> &'static str {
        match self {
            Self::Stream { v6: false } => "TCP, IPv4",
            Self::Stream { v6: true } => "TCP, IPv6",
            Self::Arriving => "TCP, IPv4, ingress",
            Self::Datagrams => "UDP",
        }
    }

    /// The share of a frame that is payload: TCP has time stamps.
    fn payload(self) -> f64 {
        let headers = match self {
            Self::Stream { v6: false } | Self::Arriving => 20.0 + 32.0,
            Self::Stream { v6: true } => 40.0 + 32.0,
            Self::Datagrams => 20.0 + 8.0,
        };
        (MTU - headers) / (MTU + LINK)
    }

    /// Payload that arrives, in bits per second, while about so much is allowed.
    fn measure(self, scene: &Scene, rate: u64, seconds: f64) -> Result<f64> {
        match self {
            Self::Datagrams => datagrams(scene, rate, seconds),
            _ => {
                let bytes = ((rate as f64 * seconds / 8.0) as u64).min(MOST);
                let v6 = matches!(self, Self::Stream { v6: true });
                stream(scene, scene.address_of(v6), bytes)
            }
        }
    }

    /// Which way it goes, and whose it is.
    fn side(self, scene: &Scene) -> (&'static str, &TestCgroup) {
        match self {
            Self::Arriving => ("ingress", &scene.receiver),
            _ => ("egress", &scene.sender),
        }
    }
}

/// From when the first byte came until the last did.
fn stream(scene: &Scene, bind: SocketAddr, bytes: u64) -> Result<f64> {
    let receiver = Victim::start(TcpReceive { bind }, scene.receiver_place())?;
    let send = TcpSend { to: receiver.address(), bytes, timeout: TIMEOUT };
    let sent = Victim::run(send, scene.sender_place())?;
    let received = receiver.report()?;
    ensure!(received.bytes == bytes && received.wrong_bytes == 0, "{sent:?}, {received:?}");
    let arrival = received.arrival.context("nothing arrived")?;
    Ok(arrival.bits_per_second(bytes))
}

/// As many as are sent in the time, half as much again as the rate allows.
fn datagrams(scene: &Scene, rate: u64, seconds: f64) -> Result<f64> {
    let sink = Victim::start(UdpSink { bind: scene.address() }, scene.receiver_place())?;
    let frame = DATAGRAM as f64 + 28.0 + LINK;
    let interval = frame * 8.0 / (rate as f64 * 1.5);
    // A sleep takes some 60 microseconds longer than it is asked to.
    let interval = if interval < 200e-6 { 0.0 } else { interval - 60e-6 };
    let send = UdpSend {
        size: DATAGRAM,
        interval: Duration::from_secs_f64(interval),
        repeat: Repeat::For(Duration::from_secs_f64(seconds)),
        ..UdpSend::new(sink.address(), 0)
    };
    Victim::run(send, scene.sender_place())?;
    // A second's worth waits.
    sleep(Duration::from_millis(1200));
    let sunk = sink.stop()?;
    let arrival = sunk.arrival.context("nothing arrived")?;
    Ok(arrival.bits_per_second(sunk.received * DATAGRAM as u64))
}

/// Measures every rate, ours and tbf's in turn, and the loads.
pub fn measure(effort: Effort) -> Result<Measured> {
    let scene = Scene::new()?;
    let mut injector = Injector::new(scene.probe.path())?;
    // A target is in the network namespaces of its processes.
    let _idle = [scene.sender_place(), scene.receiver_place()]
        .map(|place| Process::spawn(Command::new("cat"), place));
    let has_tbf = scene.qdisc("tbf rate 1mbit burst 64kb latency 1s").is_ok();
    let seconds = if effort.rounds > 1 { SECONDS } else { 0.5 };
    let mut rates = Vec::new();
    for asked in RATES {
        for traffic in Traffic::ALL {
            let (mut ours, mut tbf) = (Vec::new(), Vec::new());
            for _ in 0..effort.rounds.min(TURNS) {
                let (direction, target) = traffic.side(&scene);
                let fault = format!("limit {asked}bit {direction}");
                injector.arm(injector.target(target.path())?, &parse(&fault)?)?;
                let measured = traffic.measure(&scene, asked, seconds).context(fault);
                injector.disarm();
                ours.push(measured?);
                if has_tbf {
                    // The least burst with which it reaches the rate: what a timer tick lets through.
                    let burst = (asked / 8 / 250).max(3_000);
                    let options = format!("tbf rate {asked}bit burst {burst} latency 1s");
                    let _tbf = scene.qdisc(&options)?;
                    tbf.push(traffic.measure(&scene, asked, seconds).context(options)?);
                }
            }
            let free = traffic.measure(&scene, asked.max(1_000_000_000), seconds / 4.0)?;
            let tbf = has_tbf.then(|| median(&mut tbf));
            rates.push(Rate {
                asked,
                traffic: traffic.name().to_owned(),
                payload: traffic.payload(),
                ours: median(&mut ours),
                tbf,
                free,
            });
        }
    }
    let loads = loads(&scene, &mut injector, seconds)?;
    Ok(Measured { machine: table::machine(), rates, loads })
}

/// Without a delay and with one, in this order.
fn loads(scene: &Scene, injector: &mut Injector, seconds: f64) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    for (fault, what) in [
        ("", "datagrams a second, nothing armed"),
        ("delay 100ms egress udp", "datagrams a second, delay 100ms"),
    ] {
        loads.push(armed(scene, injector, fault, || flood(scene, what, seconds))?);
    }
    for (fault, what) in [
        ("", "stream, Mbit/s, nothing armed"),
        ("delay 10ms egress tcp", "stream, Mbit/s, delay 10ms"),
    ] {
        loads.push(armed(scene, injector, fault, || bulk(scene, what, seconds))?);
    }
    Ok(loads)
}

fn armed<T>(
    scene: &Scene,
    injector: &mut Injector,
    fault: &str,
    measure: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if !fault.is_empty() {
        injector.arm(injector.target(scene.sender.path())?, &parse(fault)?)?;
    }
    let measured = measure();
    injector.disarm();
    measured
}

/// About 50,000 small datagrams a second, as far as the machine sends them.
fn flood(scene: &Scene, what: &str, seconds: f64) -> Result<Load> {
    let sink = Victim::start(UdpSink { bind: scene.address() }, scene.receiver_place())?;
    let count = (50_000.0 * seconds) as u64;
    // A sleep takes 50 microseconds longer than it is asked to.
    let send = UdpSend {
        interval: Duration::from_nanos(1),
        flows: 8,
        threads: 8,
        ..UdpSend::new(sink.address(), count)
    };
    let sent = Victim::run(send, scene.sender_place())?.total();
    let took = sent.first_ok_at.zip(sent.last_ok_at).map_or(0, |(first, last)| last - first);
    let (sent, took) = (sent.ok, took as f64 / 1e9);
    sleep(Duration::from_millis(500));
    let lost = sent - sink.stop()?.distinct();
    Ok(Load { what: what.to_owned(), speed: sent as f64 / took, sent, lost, again: 0 })
}

fn bulk(scene: &Scene, what: &str, seconds: f64) -> Result<Load> {
    let bytes = (100e6 * seconds) as u64;
    let before = scene.sent_again()?;
    let speed = stream(scene, scene.address(), bytes)? / 1e6;
    let again = scene.sent_again()? - before;
    Ok(Load { what: what.to_owned(), speed, sent: bytes, lost: 0, again })
}
