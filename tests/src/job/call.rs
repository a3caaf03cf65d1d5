//! One system call, made again and again.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Repeat;

/// Repeats a call. The report has one lane for each thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    pub what: Repeated,
    pub repeat: Repeat,
    pub threads: u32,
    /// A thread's pause after each call.
    pub interval: Duration,
}

impl Call {
    /// `count` calls without pause in one thread.
    pub fn new(what: Repeated, count: u64) -> Self {
        Self { what, repeat: Repeat::Times(count), threads: 1, interval: Duration::ZERO }
    }
}

/// Repeats several calls until its standard input closes, each in a thread of its own. The report
/// has one lane for each call, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    pub what: Vec<Repeated>,
    /// A thread's pause after each call.
    pub interval: Duration,
}

/// Which call. An attempt fails with the first error of the call or of what it needs before it: a
/// connect makes a socket (socket, setsockopt twice at most) first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeated {
    /// connect(2) of a new TCP socket, which is then closed with a reset, so that ports do not
    /// run out. Without an answer within `timeout` it counts as [`crate::tally::TIMEOUT`].
    Connect {
        to: SocketAddr,
        /// Connect, then poll(2) for the result, as event loops do.
        nonblocking: bool,
        timeout: Duration,
    },
    /// The same of an MPTCP socket, blocking.
    ConnectMptcp { to: SocketAddr, timeout: Duration },
    /// bind(2) of a new socket to `address`; port 0 lets the kernel choose one.
    Bind { kind: SocketKind, address: SocketAddr },
    /// socket(2).
    Socket { kind: SocketKind },
    /// getsockopt(2) of SO_KEEPALIVE on a TCP socket of the thread's own.
    GetSockopt,
    /// setsockopt(2) of SO_KEEPALIVE on a TCP socket of the thread's own.
    SetSockopt,
    /// recv(2) of a datagram that was sent to itself over loopback.
    Recv,
    /// open(2) of the victim's own program.
    Open,
    /// pread(2) from the victim's own program.
    Pread,
    /// fsync(2) of the victim's own program.
    Fsync,
    /// mkdir(2) of a directory in the working directory, which is then removed.
    Mkdir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketKind {
    Tcp4,
    Tcp6,
    Udp4,
    Udp6,
    /// IPPROTO_MPTCP.
    Mptcp4,
}
