//! One system call, again and again in several threads.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket},
    os::{fd::AsFd, unix::fs::FileExt},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_tests::{
    job::{Call, Calls, Repeat, Repeated, SocketKind},
    tally::{Attempts, Lane},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::stage::{QUIET, Rounds, Stage, pause};

pub fn repeat(options: &Call, stage: &Stage) -> Result<Attempts> {
    let Call { what, repeat, threads, interval } = options;
    let calls = (0..*threads).map(|_| prepare(what)).collect::<Result<_>>()?;
    in_threads(calls, *interval, stage, |thread| stage.rounds(*repeat, thread, *threads))
}

pub fn repeat_all(options: &Calls, stage: &Stage) -> Result<Attempts> {
    let calls = options.what.iter().map(prepare).collect::<Result<_>>()?;
    in_threads(calls, options.interval, stage, |_| stage.rounds(Repeat::UntilStopped, 0, 1))
}

/// Repeats each call in a thread of its own, as often as `rounds` has it for that thread.
fn in_threads<'a>(
    calls: Vec<Attempt>,
    interval: Duration,
    stage: &Stage,
    rounds: impl Fn(u32) -> Rounds<'a> + Copy + Send,
) -> Result<Attempts> {
    stage.ready(None)?;
    let lanes = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(calls)
            .map(|(thread, mut call)| {
                scope.spawn(move || {
                    let mut lane = Lane::default();
                    for () in rounds(thread) {
                        lane.record(&call());
                        pause(interval);
                    }
                    lane
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a caller does not panic")).collect()
    });
    Ok(Attempts { lanes })
}

/// The program of this process, wherever its root directory is.
const ITSELF: &str = "/proc/self/exe";

type Attempt = Box<dyn FnMut() -> io::Result<()> + Send>;

fn prepare(what: &Repeated) -> Result<Attempt> {
    Ok(match *what {
        Repeated::Connect { to, nonblocking: false, timeout } => {
            Box::new(move || connect(connector(to, None)?, to, timeout))
        }
        Repeated::ConnectMptcp { to, timeout } => {
            Box::new(move || connect(connector(to, Some(Protocol::MPTCP))?, to, timeout))
        }
        Repeated::Connect { to, nonblocking: true, timeout } => {
            let timeout = PollTimeout::try_from(timeout).context("the timeout is too long")?;
            Box::new(move || connect_nonblocking(to, timeout))
        }
        Repeated::Bind { kind, address } => Box::new(move || open(kind)?.bind(&address.into())),
        Repeated::Socket { kind } => Box::new(move || open(kind).map(drop)),
        Repeated::GetSockopt => {
            let socket = open(SocketKind::Tcp4).context("make a TCP socket")?;
            Box::new(move || socket.keepalive().map(drop))
        }
        Repeated::SetSockopt => {
            let socket = open(SocketKind::Tcp4).context("make a TCP socket")?;
            Box::new(move || socket.set_keepalive(true))
        }
        Repeated::Recv => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("bind to loopback")?;
            let itself = socket.local_addr().context("read the socket's address")?;
            socket.connect(itself).context("connect to itself")?;
            socket.set_read_timeout(Some(QUIET)).context("set a read timeout")?;
            Box::new(move || {
                socket.send(&[0])?;
                socket.recv(&mut [0]).map(drop).map_err(|error| timed_out_if(error, Errno::EAGAIN))
            })
        }
        Repeated::Open => Box::new(|| File::open(ITSELF).map(drop)),
        Repeated::Pread => {
            let program = File::open(ITSELF).with_context(|| format!("open {ITSELF}"))?;
            Box::new(move || program.read_at(&mut [0], 0).map(drop))
        }
        Repeated::Fsync => {
            let program = File::open(ITSELF).with_context(|| format!("open {ITSELF}"))?;
            Box::new(move || program.sync_all())
        }
        Repeated::Mkdir => {
            let directory = PathBuf::from(format!("victim-{}", std::process::id()));
            Box::new(move || {
                fs::create_dir(&directory)?;
                fs::remove_dir(&directory)
            })
        }
    })
}

fn connect(socket: Socket, to: SocketAddr, timeout: Duration) -> io::Result<()> {
    socket.set_write_timeout(Some(timeout))?;
    // connect(2) with SO_SNDTIMEO: "in progress" when the time is over (socket(7)).
    socket.connect(&to.into()).map_err(|error| timed_out_if(error, Errno::EINPROGRESS))?;
    hang_up(&socket)
}

fn connect_nonblocking(to: SocketAddr, timeout: PollTimeout) -> io::Result<()> {
    let socket = connector(to, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        result => result?,
    }
    if poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], timeout)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    socket.take_error()?.map_or(Ok(()), Err)?;
    hang_up(&socket)
}

/// Ends a connection that was made. The FIN also acknowledges the server's SYN: it may overtake the
/// segment that did so first, which is on another CPU's queue, and a RST that overtakes both would take
/// the connection away before the server has it (`tcp_check_req` in `net/ipv4/tcp_minisocks.c`).
fn hang_up(socket: &Socket) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        // The server was faster.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// A socket of TCP, or of this protocol, that leaves no TIME_WAIT behind.
fn connector(to: SocketAddr, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, protocol)?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

fn open(kind: SocketKind) -> io::Result<Socket> {
    let (domain, kind, protocol) = match kind {
        SocketKind::Tcp4 => (Domain::IPV4, Type::STREAM, None),
        SocketKind::Tcp6 => (Domain::IPV6, Type::STREAM, None),
        SocketKind::Udp4 => (Domain::IPV4, Type::DGRAM, None),
        SocketKind::Udp6 => (Domain::IPV6, Type::DGRAM, None),
        SocketKind::Mptcp4 => (Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)),
    };
    Socket::new(domain, kind, protocol)
}

fn timed_out_if(error: io::Error, errno: Errno) -> io::Error {
    if error.raw_os_error() == Some(errno as i32) { io::ErrorKind::TimedOut.into() } else { error }
}
