//! Asking and waiting for the answer, to see when a fault begins and ends.

use std::{io, net::UdpSocket};

use anyhow::{Context, Result};
use chaos_tests::{
    clock::boottime_ns,
    job::{PingSpan, Pinged, UdpPing},
    payload::{self, Identity, MIN_SIZE},
    tally::error_name,
};

use crate::{
    flow::bind_any,
    stage::{QUIET, Stage, pause},
};

pub fn ping(options: &UdpPing, stage: &Stage) -> Result<Pinged> {
    let socket = bind_any(options.to)?;
    socket.connect(options.to).with_context(|| format!("connect to {}", options.to))?;
    socket.set_read_timeout(Some(options.timeout)).context("set a read timeout")?;
    stage.ready(None)?;
    let mut pinged = Pinged::default();
    for (sequence, ()) in (0..).zip(stage.rounds(options.repeat, 0, 1)) {
        let sent_at = boottime_ns();
        let outcome = match exchange(&socket, sequence, &mut pinged.late) {
            Ok(()) => PingSpan::OK.to_owned(),
            Err(error) => error_name(&error),
        };
        pinged.record(sent_at, outcome);
        pause(options.interval);
    }
    socket.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    while socket.recv(&mut [0; MIN_SIZE]).is_ok() {
        pinged.late += 1;
    }
    Ok(pinged)
}

/// Sends one datagram and waits for it. Counts the answers to earlier ones on the way.
fn exchange(socket: &UdpSocket, sequence: u64, late: &mut u64) -> io::Result<()> {
    let mut question = [0; MIN_SIZE];
    payload::fill(&mut question, Identity { flow: 0, sequence });
    socket.send(&question)?;
    let mut answer = [0; MIN_SIZE];
    loop {
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length] == question => return Ok(()),
            Ok(_) => *late += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}
