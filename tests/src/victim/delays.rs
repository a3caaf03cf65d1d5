//! How long something takes on the network.

use std::{
    collections::BTreeMap,
    net::{TcpStream, UdpSocket},
};

use anyhow::{Context, Result};
use chaos_tests::{
    clock::boottime_ns,
    job::{Delays, Stamped, TcpConnects, UdpDelays, UdpStamps},
};

use crate::{
    flow::{bind_any, bind_roomy},
    serve::unless_quiet,
    stage::{QUIET, Stage, pause},
};

/// Flow, sequence number and time.
const STAMP: usize = 4 + 8 + 8;

pub fn stamp(options: &UdpStamps, stage: &Stage) -> Result<Stamped> {
    let sockets: Vec<UdpSocket> =
        (0..options.flows).map(|_| bind_any(options.to)).collect::<Result<_>>()?;
    stage.ready(None)?;
    let mut report = Stamped::default();
    for sequence in 0..options.count {
        if stage.is_stopped() {
            break;
        }
        for (flow, socket) in (0u32..).zip(&sockets) {
            let mut stamp = [0; STAMP];
            stamp[..4].copy_from_slice(&flow.to_le_bytes());
            stamp[4..12].copy_from_slice(&sequence.to_le_bytes());
            stamp[12..].copy_from_slice(&boottime_ns().to_le_bytes());
            socket.send_to(&stamp, options.to).context("send a stamp")?;
            report.sent += 1;
        }
        pause(options.interval);
    }
    Ok(report)
}

pub fn receive(options: &UdpDelays, stage: &Stage) -> Result<Delays> {
    let socket = bind_roomy(options.bind)?;
    socket.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    stage.ready(Some(socket.local_addr().context("read the socket's address")?))?;
    let mut report = Delays::default();
    let mut greatest = BTreeMap::<u32, u64>::new();
    let mut stamp = [0; STAMP];
    loop {
        // Before: what has come by then is taken, however long this process is kept from running.
        let is_stopped = stage.is_stopped();
        match unless_quiet(socket.recv(&mut stamp))? {
            Some(STAMP) => {
                let now = boottime_ns();
                let word = |at: usize| u64::from_le_bytes(stamp[at..at + 8].try_into().unwrap());
                let flow = u32::from_le_bytes(stamp[..4].try_into().unwrap());
                let (sequence, sent) = (word(4), word(12));
                report.flows.entry(flow).or_default().push(now.saturating_sub(sent));
                let greatest = greatest.entry(flow).or_insert(sequence);
                report.late += u64::from(sequence < *greatest);
                *greatest = sequence.max(*greatest);
            }
            Some(length) => anyhow::bail!("a datagram of {length} bytes is no stamp"),
            None if is_stopped => return Ok(report),
            None => {}
        }
    }
}

pub fn connect(options: &TcpConnects, stage: &Stage) -> Result<Delays> {
    stage.ready(None)?;
    let mut delays = Vec::new();
    for _ in 0..options.count {
        let began = boottime_ns();
        drop(TcpStream::connect(options.to).with_context(|| format!("connect {}", options.to))?);
        delays.push(boottime_ns() - began);
    }
    Ok(Delays { flows: [(0, delays)].into(), late: 0 })
}
