//! Jobs that measure how long something takes on the network.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// Sends datagrams that say when they were sent, in turn on each of some flows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpStamps {
    pub to: SocketAddr,
    /// Datagrams on each flow.
    pub count: u64,
    pub flows: u32,
    /// From one round to the next.
    pub interval: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    pub sent: u64,
}

/// Receives them, and measures how long they were on their way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpDelays {
    pub bind: SocketAddr,
}

/// Connects and closes, again and again, and measures how long connecting takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TcpConnects {
    pub to: SocketAddr,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// Nanoseconds, by flow and in the order of arrival.
    pub flows: BTreeMap<u32, Vec<u64>>,
    /// How many came after one of their flow that was sent later.
    pub late: u64,
}

impl Delays {
    pub fn count(&self) -> u64 {
        self.flows.values().map(|delays| delays.len() as u64).sum()
    }

    /// Of all flows, in milliseconds, sorted.
    pub fn milliseconds(&self) -> Vec<f64> {
        let mut all: Vec<u64> = self.flows.values().flatten().copied().collect();
        all.sort_unstable();
        all.into_iter().map(|delay| delay as f64 / 1e6).collect()
    }

    /// In milliseconds.
    ///
    /// # Panics
    /// If nothing was measured.
    pub fn median(&self) -> f64 {
        let all = self.milliseconds();
        all[all.len() / 2]
    }
}
