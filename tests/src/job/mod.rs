//! What a victim is asked to do and what it reports: the types that both sides share.
//!
//! A job is the victim's single argument, as JSON; the report is the last line that it prints.

mod arrival;
mod bpf;
mod call;
mod delays;
mod kill;
mod names;
mod page;
mod syscalls;
mod tcp;
mod udp;

use std::{net::SocketAddr, time::Duration};

pub use arrival::Arrival;
pub use bpf::BpfObjects;
pub use call::{Call, Calls, Repeated, SocketKind};
pub use delays::{Delays, Stamped, TcpConnects, UdpDelays, UdpStamps};
pub use kill::{Kill, KillSignal, Killed};
pub use names::{LookUps, LookedUp};
pub use page::{PagesServed, RedisPage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
pub use syscalls::{NAMES as SYSCALLS, Syscalls};
pub use tcp::{StreamReceived, StreamSent, TcpReceive, TcpSend, TcpServe, TcpServed};
pub use udp::{Echoed, FlowSeen, PingSpan, Pinged, Sunk, UdpEcho, UdpPing, UdpSend, UdpSink};

/// One job, with its options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    UdpEcho(UdpEcho),
    UdpSink(UdpSink),
    UdpSend(UdpSend),
    UdpPing(UdpPing),
    TcpServe(TcpServe),
    TcpSend(TcpSend),
    TcpReceive(TcpReceive),
    Call(Call),
    Calls(Calls),
    Syscalls(Syscalls),
    Kill(Kill),
    UdpStamps(UdpStamps),
    UdpDelays(UdpDelays),
    TcpConnects(TcpConnects),
    RedisPage(RedisPage),
    LookUps(LookUps),
    BpfObjects(BpfObjects),
}

/// The options of one kind of job.
pub trait Options: Into<Job> {
    /// What the victim prints when it has finished.
    type Report: Serialize + DeserializeOwned;
}

macro_rules! jobs {
    ($($job:ident -> $report:ty),+ $(,)?) => {$(
        impl From<$job> for Job {
            fn from(options: $job) -> Self {
                Self::$job(options)
            }
        }

        impl Options for $job {
            type Report = $report;
        }
    )+};
}

jobs! {
    UdpEcho -> Echoed,
    UdpSink -> Sunk,
    UdpSend -> crate::tally::Attempts,
    UdpPing -> Pinged,
    TcpServe -> TcpServed,
    TcpSend -> StreamSent,
    TcpReceive -> StreamReceived,
    Call -> crate::tally::Attempts,
    Calls -> crate::tally::Attempts,
    Syscalls -> crate::tally::Attempts,
    Kill -> Killed,
    UdpStamps -> Stamped,
    UdpDelays -> Delays,
    TcpConnects -> Delays,
    RedisPage -> PagesServed,
    LookUps -> LookedUp,
    BpfObjects -> crate::residue::Inventory,
}

/// The first line that a victim prints: it is set up and starts now.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Where it serves, if it does, with the port that the kernel chose.
    pub address: Option<SocketAddr>,
}

/// How often a job repeats what it does. Every job also ends when its standard input closes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// So many times in all, shared out evenly among its threads or flows.
    Times(u64),
    /// For so long in every thread.
    For(Duration),
    /// Until its standard input closes.
    UntilStopped,
}
