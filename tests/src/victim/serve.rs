//! Servers that answer and no more.

use std::{io, net::UdpSocket};

use anyhow::{Context, Result};
use chaos_tests::job::{Echoed, TcpServe, TcpServed, UdpEcho};
use socket2::{Domain, Socket, Type};

use crate::stage::{QUIET, Stage};

/// As many as the kernel allows: net.core.somaxconn caps it.
const BACKLOG: i32 = 4096;

pub fn echo(options: &UdpEcho, stage: &Stage) -> Result<Echoed> {
    let socket = UdpSocket::bind(options.bind).with_context(|| format!("bind {}", options.bind))?;
    socket.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    stage.ready(Some(socket.local_addr().context("read the socket's address")?))?;
    let mut report = Echoed::default();
    let mut datagram = vec![0; 65536];
    while !stage.is_stopped() {
        if let Some((length, from)) = unless_quiet(socket.recv_from(&mut datagram))? {
            report.received += 1;
            report.replies.record(&socket.send_to(&datagram[..length], from));
        }
    }
    Ok(report)
}

pub fn accept(options: &TcpServe, stage: &Stage) -> Result<TcpServed> {
    let listener = listen(options.bind)?;
    stage.ready(listener.local_addr().context("read the socket's address")?.as_socket())?;
    let mut report = TcpServed::default();
    loop {
        // Before: what has come by then is taken, however long this process is kept from running.
        let is_stopped = stage.is_stopped();
        match unless_quiet(listener.accept())? {
            Some(_) => report.accepted += 1,
            None if is_stopped => return Ok(report),
            None => {}
        }
    }
}

/// A listener whose accept(2) gives up after [`QUIET`].
pub fn listen(address: std::net::SocketAddr) -> Result<Socket> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("make a TCP socket")?;
    listener.set_reuse_address(true).context("allow reuse of the address")?;
    listener.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    listener.listen(BACKLOG).context("listen")?;
    listener.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
    Ok(listener)
}

/// `None` where nothing came before the timeout, or only what is to be tried again.
pub fn unless_quiet<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    // accept(2): the peer went away while it waited in the backlog.
                    | io::ErrorKind::ConnectionAborted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
