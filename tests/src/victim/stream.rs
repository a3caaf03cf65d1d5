//! One TCP stream whose every byte is known.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result};
use chaos_tests::{
    clock::boottime_ns,
    job::{Arrival, StreamReceived, StreamSent, TcpReceive, TcpSend},
    payload::{self, Identity, STREAM_BLOCK},
    tally::{TIMEOUT, error_name},
};

use crate::{
    serve::{listen, unless_quiet},
    stage::{QUIET, Stage},
};

pub fn send(options: &TcpSend, stage: &Stage) -> Result<StreamSent> {
    stage.ready(None)?;
    let mut report = StreamSent::default();
    if let Err(error) = send_stream(options, &mut report.bytes) {
        report.error = Some(match error.kind() {
            io::ErrorKind::WouldBlock => TIMEOUT.to_owned(),
            _ => error_name(&error),
        });
    }
    Ok(report)
}

fn send_stream(options: &TcpSend, sent: &mut u64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&options.to, options.timeout)?;
    stream.set_write_timeout(Some(options.timeout))?;
    let mut block = [0; STREAM_BLOCK];
    while *sent < options.bytes {
        let offset = fill_block(&mut block, *sent);
        let end = STREAM_BLOCK
            .min(offset + usize::try_from(options.bytes - *sent).unwrap_or(STREAM_BLOCK));
        *sent += stream.write(&block[offset..end])? as u64;
    }
    Ok(())
}

pub fn receive(options: &TcpReceive, stage: &Stage) -> Result<StreamReceived> {
    let listener = listen(options.bind)?;
    stage.ready(listener.local_addr().context("read the socket's address")?.as_socket())?;
    let mut report = StreamReceived::default();
    let mut stream = loop {
        // Before: what has come by then is taken, however long this process is kept from running.
        let is_stopped = stage.is_stopped();
        match unless_quiet(listener.accept()).context("accept")? {
            Some((stream, _)) => break stream,
            None if is_stopped => {
                report.error = Some(TIMEOUT.to_owned());
                return Ok(report);
            }
            None => {}
        }
    };
    stream.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    let mut received = [0; STREAM_BLOCK];
    let mut expected = [0; STREAM_BLOCK];
    loop {
        let is_stopped = stage.is_stopped();
        let offset = fill_block(&mut expected, report.bytes);
        match stream.read(&mut received[offset..]) {
            Ok(0) => return Ok(report),
            Ok(length) => {
                let part = offset..offset + length;
                let wrong = payload::count_differences(&received[part.clone()], &expected[part]);
                report.bytes += length as u64;
                Arrival::note(&mut report.arrival, boottime_ns(), length as u64);
                report.wrong_bytes += wrong as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if is_stopped {
                    report.error = Some(TIMEOUT.to_owned());
                    return Ok(report);
                }
            }
            Err(error) => {
                report.error = Some(error_name(&error));
                return Ok(report);
            }
        }
    }
}

/// Fills `block` with the block that holds the stream's byte `position`, and tells where in it.
fn fill_block(block: &mut [u8; STREAM_BLOCK], position: u64) -> usize {
    let length = STREAM_BLOCK as u64;
    payload::fill(block, Identity { flow: 0, sequence: position / length });
    (position % length) as usize
}
