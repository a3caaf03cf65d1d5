//! Many datagrams, one way.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    clock::boottime_ns,
    job::{Arrival, FlowSeen, Sunk, UdpSend, UdpSink},
    payload::{self, Identity, MIN_SIZE},
    tally::{Attempts, Lane},
};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};

use crate::{
    serve::unless_quiet,
    stage::{QUIET, Stage, pause},
};

/// Room for some 300,000 small datagrams, so that none is lost to a receiver that lags. In a pod it
/// is what the system allows everybody, which is enough for the hundreds that are sent there.
const RECEIVE_BUFFER: usize = 256 << 20;

/// A socket at this address that has this room.
pub fn bind_roomy(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("bind {address}"))?;
    match setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        // It takes CAP_NET_ADMIN.
        Err(Errno::EPERM) => setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER),
        result => result,
    }
    .context("enlarge the buffer")?;
    Ok(socket)
}

pub fn sink(options: &UdpSink, stage: &Stage) -> Result<Sunk> {
    let socket = bind_roomy(options.bind)?;
    socket.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    stage.ready(Some(socket.local_addr().context("read the socket's address")?))?;
    let mut seen = Seen::default();
    let mut datagram = vec![0; 65536];
    loop {
        // Before: what has come by then is taken, however long this process is kept from running.
        let is_stopped = stage.is_stopped();
        match unless_quiet(socket.recv(&mut datagram))? {
            Some(length) => seen.take(&datagram[..length]),
            None if is_stopped => return Ok(seen.report),
            None => {}
        }
    }
}

#[derive(Default)]
struct Seen {
    report: Sunk,
    greatest: BTreeMap<u32, u64>,
    scratch: Vec<u8>,
}

impl Seen {
    fn take(&mut self, datagram: &[u8]) {
        let inspection = payload::inspect(datagram, &mut self.scratch);
        self.report.received += 1;
        Arrival::note(&mut self.report.arrival, boottime_ns(), datagram.len() as u64);
        self.report.corrupted += u64::from(inspection.wrong_bytes > 0);
        let Some(Identity { flow, sequence }) = inspection.identity else {
            self.report.unrecognisable += 1;
            return;
        };
        self.report.wrong_bytes += inspection.wrong_bytes as u64;
        let seen: &mut FlowSeen = self.report.flows.entry(flow).or_default();
        let greatest = self.greatest.entry(flow).or_insert(sequence);
        seen.late += u64::from(sequence < *greatest);
        *greatest = sequence.max(*greatest);
        seen.duplicates += u64::from(!seen.sequences.insert(sequence));
    }
}

pub fn send(options: &UdpSend, stage: &Stage) -> Result<Attempts> {
    ensure!(options.size >= MIN_SIZE, "a payload has at least {MIN_SIZE} bytes");
    ensure!((1..=options.flows).contains(&options.threads), "every thread needs a flow");
    stage.ready(None)?;
    let share = |thread| (thread..options.flows).step_by(options.threads as usize);
    let mut lanes = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|thread| scope.spawn(move || send_flows(options, stage, share(thread))))
            .collect();
        let mut lanes = Vec::new();
        for thread in threads {
            lanes.extend(thread.join().expect("a sender does not panic")?);
        }
        anyhow::Ok(lanes)
    })?;
    lanes.sort_unstable_by_key(|(flow, ..)| *flow);
    Ok(Attempts { lanes: lanes.into_iter().map(|(_, lane, _)| lane).collect() })
}

/// Sends on each flow in turn until all have had their rounds. The sockets are given back, so that no flow of another
/// thread gets the port of one that has ended.
fn send_flows(
    options: &UdpSend,
    stage: &Stage,
    flows: impl Iterator<Item = u32>,
) -> Result<Vec<(u32, Lane, UdpSocket)>> {
    let mut open = Vec::new();
    for flow in flows {
        let rounds = stage.rounds(options.repeat, flow, options.flows);
        open.push((flow, Lane::default(), socket_towards(options)?, rounds));
    }
    let mut datagram = vec![0; options.size];
    let mut sent = true;
    while sent {
        sent = false;
        for (flow, lane, socket, rounds) in &mut open {
            if rounds.next().is_some() {
                let identity = Identity { flow: *flow, sequence: lane.tally.attempts() };
                payload::fill(&mut datagram, identity);
                lane.record(&if options.connected {
                    socket.send(&datagram)
                } else {
                    socket.send_to(&datagram, options.to)
                });
                pause(options.interval);
                sent = true;
            }
        }
    }
    Ok(open.into_iter().map(|(flow, lane, socket, _)| (flow, lane, socket)).collect())
}

fn socket_towards(options: &UdpSend) -> Result<UdpSocket> {
    let socket = bind_any(options.to)?;
    if options.connected {
        socket.connect(options.to).with_context(|| format!("connect to {}", options.to))?;
    }
    Ok(socket)
}

/// A UDP socket with a port of its own, of the same address family as `peer`.
pub fn bind_any(peer: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).context("bind a UDP socket")
}
