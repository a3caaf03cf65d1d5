//! The measured process: it sends datagrams, or connects, and times itself.
//!
//! It lives in the sender's cgroup and network namespace, where its socket for sending is made.
//! Before it goes there it makes the receiving socket in the receiver's. So one thread sends a
//! batch (timed) and takes it out at the other end (not timed), and no figure depends on how a
//! second process is scheduled.

use std::{
    fs::{self, File},
    io::{self, BufRead, Write},
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::rounds::median;

/// Operations between two looks at the clock: a datagram takes a few microseconds, the clock a few
/// dozen nanoseconds. All of a batch fits into the receiving socket's buffer.
pub const BATCH: u32 = 64;

/// Payload bytes of a datagram.
const SIZE: usize = 64;

/// Where the two sockets are.
#[derive(Serialize, Deserialize)]
pub struct Route {
    pub sender: Place,
    pub receiver: Place,
    /// The receiver's address; datagrams go to a port of the kernel's choice there.
    pub to: SocketAddr,
}

/// A cgroup and a network namespace, by paths that can be opened.
#[derive(Serialize, Deserialize)]
pub struct Place {
    pub cgroup: PathBuf,
    pub netns: PathBuf,
}

/// One measurement asked of the courier, a line of JSON on its standard input.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Order {
    /// Batches of datagrams.
    Send { batches: u32 },
    /// Batches of TCP connects to a port where nobody listens.
    Connect { batches: u32 },
}

/// What it answers when it is ready: where datagrams go and where connects go.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Ready {
    pub port: u16,
    pub closed_port: u16,
}

/// What it answers to an order.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Timed {
    /// Nanoseconds an operation: the median of the batches, so that a batch in which the machine
    /// did something else counts for nothing.
    pub nanoseconds: f64,
    /// Datagrams that arrived.
    pub arrived: u64,
}

pub fn run(route: &str) -> Result<()> {
    let route: Route = serde_json::from_str(route).context("read the route")?;
    pin()?;
    route.receiver.enter()?;
    let sink = UdpSocket::bind(SocketAddr::new(route.to.ip(), 0)).context("bind the receiver")?;
    sink.set_nonblocking(true).context("make the receiver non-blocking")?;
    let closed = reserve_closed_port(route.to)?;
    route.sender.enter()?;
    let to = sink.local_addr().context("read the receiver's address")?;
    let socket = UdpSocket::bind(any_of(to)).context("bind the sender")?;
    socket.connect(to).with_context(|| format!("connect to {to}"))?;
    say(&Ready { port: to.port(), closed_port: closed.address.port() })?;
    for line in io::stdin().lock().lines() {
        let line = line.context("read an order")?;
        match serde_json::from_str(&line).with_context(|| format!("order {line:?}"))? {
            Order::Send { batches } => say(&send(&socket, &sink, batches)?)?,
            Order::Connect { batches } => say(&connect(closed.address, batches)?)?,
        }
    }
    Ok(())
}

impl Place {
    fn enter(&self) -> Result<()> {
        fs::write(self.cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("enter cgroup {}", self.cgroup.display()))?;
        let netns = File::open(&self.netns).context("open the network namespace")?;
        setns(netns, CloneFlags::CLONE_NEWNET).context("enter the network namespace")
    }
}

/// One CPU for the whole run: the way from socket to socket over veth is then walked by one
/// thread, and its caches stay warm.
fn pin() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0).context("CPU 0")?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("pin to CPU 0")
}

fn any_of(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    }
}

/// A bound TCP socket that does not listen: connects to it are refused, and nobody else gets its
/// port.
struct ClosedPort {
    address: SocketAddr,
    _socket: Socket,
}

fn reserve_closed_port(to: SocketAddr) -> Result<ClosedPort> {
    let socket = tcp_socket(to)?;
    socket.bind(&SocketAddr::new(to.ip(), 0).into()).context("reserve a closed port")?;
    let address = socket.local_addr().context("read the closed port")?;
    let address = address.as_socket().context("the closed port has an address")?;
    Ok(ClosedPort { address, _socket: socket })
}

fn tcp_socket(to: SocketAddr) -> Result<Socket> {
    Socket::new(Domain::for_address(to), Type::STREAM, None).context("make a TCP socket")
}

fn send(socket: &UdpSocket, sink: &UdpSocket, batches: u32) -> Result<Timed> {
    let datagram = [0x55; SIZE];
    let mut buffer = [0; SIZE];
    let mut times = Vec::with_capacity(batches as usize);
    let mut arrived = 0;
    for _ in 0..batches {
        let start = Instant::now();
        for _ in 0..BATCH {
            socket.send(&datagram).context("send")?;
        }
        times.push(per_operation(start));
        loop {
            match sink.recv(&mut buffer) {
                Ok(_) => arrived += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("receive"),
            }
        }
    }
    Ok(Timed { nanoseconds: median(&mut times), arrived })
}

fn connect(to: SocketAddr, batches: u32) -> Result<Timed> {
    let address = SockAddr::from(to);
    let mut times = Vec::with_capacity(batches as usize);
    for _ in 0..batches {
        let sockets: Vec<Socket> = (0..BATCH).map(|_| tcp_socket(to)).collect::<Result<_>>()?;
        let mut refused = 0;
        let start = Instant::now();
        for socket in &sockets {
            if let Err(error) = socket.connect(&address) {
                refused += u32::from(error.kind() == io::ErrorKind::ConnectionRefused);
            }
        }
        times.push(per_operation(start));
        ensure!(refused == BATCH, "{refused} of {BATCH} connects were refused");
    }
    Ok(Timed { nanoseconds: median(&mut times), arrived: 0 })
}

fn per_operation(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(BATCH)
}

fn say(answer: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, answer).context("answer")?;
    writeln!(stdout).and_then(|()| stdout.flush()).context("answer")
}
