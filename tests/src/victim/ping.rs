//! Asking and waiting for the answer, to see when a fault begins and ends.

use std::io;
use std::net::UdpSocket;

use anyhow::{Context, Result};
use chaos_tests::clock::boottime_ns;
use chaos_tests::job::{PingSpan, Pinged, UdpPing};
use chaos_tests::payload::{self, Identity, MIN_SIZE};
use chaos_tests::tally::error_name;

use crate::flow::bind_any;
use crate::stage::{Stage, pause};

pub fn ping(options: &UdpPing, stage: &Stage) -> Result<Pinged> {
    let socket = bind_any(options.to)?;
    socket.connect(options.to).with_context(|| format!("connect to {}", options.to))?;
    socket.set_read_timeout(Some(options.timeout)).context("set a read timeout")?;
    stage.ready(None)?;
    let mut pinged = Pinged::default();
    for (sequence, ()) in (0..).zip(stage.rounds(options.repeat, 0, 1)) {
        let sent_at = boottime_ns();
        let outcome = match exchange(&socket, sequence) {
            Ok(()) => PingSpan::OK.to_owned(),
            Err(error) => error_name(&error),
        };
        pinged.record(sent_at, outcome);
        pause(options.interval);
    }
    Ok(pinged)
}

fn exchange(socket: &UdpSocket, sequence: u64) -> io::Result<()> {
    let mut question = [0; MIN_SIZE];
    payload::fill(&mut question, Identity { flow: 0, sequence });
    socket.send(&question)?;
    let mut answer = [0; MIN_SIZE];
    loop {
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length] == question => return Ok(()),
            // The answer to an earlier question that had been given up.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}
