//! What the demonstration's client and server do, and what they report. Both are processes of their own, which
//! write one line of JSON: servers their address first, everybody the report at the end.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4},
};

use serde::{Deserialize, Serialize};

/// Work for one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "job")]
pub enum Job {
    /// Receives datagrams and looks at every byte, until standard input ends.
    Sink { bind: SocketAddrV4 },
    /// Sends every datagram back, until standard input ends.
    Echo { bind: SocketAddrV4 },
    /// Accepts connections, until standard input ends.
    Serve { bind: SocketAddrV4 },
    /// Sends datagrams.
    Send { to: SocketAddr, count: u64, interval_us: u64 },
    /// Connects, and closes, again and again.
    Connect { to: SocketAddr, count: u64, interval_us: u64, timeout_ms: u64 },
    /// Sends a datagram and waits for it to come back, again and again; without a count, until standard
    /// input ends.
    Ping { to: SocketAddr, count: Option<u64>, interval_us: u64, timeout_ms: u64 },
}

/// What a process saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was sent, connected or received as it should.
    pub ok: u64,
    /// Datagrams with wrong bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged: u64,
    /// What failed, by errno; `TIMEOUT` where nobody answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, u64>,
    /// The median of the round trips, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_us: Option<u64>,
    /// The moment (boot clock, ns) of the first answer after the last loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_at: Option<u64>,
}

impl Report {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The first line of a server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    pub address: SocketAddr,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
