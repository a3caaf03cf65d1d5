//! Jobs over UDP. Payloads are those of [`crate::payload`].

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Arrival, Repeat};
use crate::{ordinals::Ordinals, tally::Tally};

/// Sends every datagram back to where it came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpEcho {
    pub bind: SocketAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoed {
    pub received: u64,
    /// What became of sending them back.
    pub replies: Tally,
}

/// Receives datagrams and checks every byte. When stopped, it first takes what has arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpSink {
    pub bind: SocketAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sunk {
    /// Datagrams received, wrong and repeated ones included.
    pub received: u64,
    /// Datagrams with at least one wrong byte.
    pub corrupted: u64,
    /// Wrong bytes in all datagrams that are still recognisable.
    pub wrong_bytes: u64,
    /// Datagrams so wrong that they belong to no flow.
    pub unrecognisable: u64,
    pub arrival: Option<Arrival>,
    pub flows: BTreeMap<u32, FlowSeen>,
}

impl Sunk {
    /// The different datagrams that arrived, of all flows together.
    pub fn distinct(&self) -> u64 {
        self.flows.values().map(|flow| flow.sequences.len()).sum()
    }

    pub fn duplicates(&self) -> u64 {
        self.flows.values().map(|flow| flow.duplicates).sum()
    }
}

/// What arrived of one flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSeen {
    /// Sequence numbers that arrived.
    pub sequences: Ordinals,
    /// Datagrams that had arrived before.
    pub duplicates: u64,
    /// Datagrams that came after one with a greater sequence number.
    pub late: u64,
}

/// Sends datagrams on one or more flows. The report has one lane for each flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpSend {
    pub to: SocketAddr,
    pub repeat: Repeat,
    /// Payload bytes; at least [`crate::payload::MIN_SIZE`].
    pub size: usize,
    /// A thread's pause after each datagram.
    pub interval: Duration,
    /// Sockets, each with a port of its own, numbered from zero.
    pub flows: u32,
    /// Threads that share the flows; no more than `flows`.
    pub threads: u32,
    /// connect(2) and send(2), or sendto(2).
    pub connected: bool,
}

impl UdpSend {
    /// `count` datagrams of 64 bytes without pause on one connected flow.
    pub fn new(to: SocketAddr, count: u64) -> Self {
        Self {
            to,
            repeat: Repeat::Times(count),
            size: 64,
            interval: Duration::ZERO,
            flows: 1,
            threads: 1,
            connected: true,
        }
    }
}

/// Sends a datagram, waits for its echo, pauses, and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpPing {
    pub to: SocketAddr,
    pub repeat: Repeat,
    pub interval: Duration,
    /// How long it waits before a datagram counts as lost.
    pub timeout: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    /// Runs of equal outcomes, in order.
    pub timeline: Vec<PingSpan>,
    /// Answers that came after they had been given up, as on a busy machine.
    pub late: u64,
}

/// Consecutive pings with the same outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingSpan {
    /// [`PingSpan::OK`], [`crate::tally::TIMEOUT`] where no echo came, or an errno's name.
    pub outcome: String,
    pub count: u64,
    /// When the first of them was sent, in nanoseconds of [`crate::clock::boottime_ns`].
    pub first_at: u64,
    /// When the last of them was sent.
    pub last_at: u64,
}

impl PingSpan {
    pub const OK: &str = "ok";

    pub fn is_ok(&self) -> bool {
        self.outcome == Self::OK
    }
}

impl Pinged {
    pub fn record(&mut self, sent_at: u64, outcome: String) {
        match self.timeline.last_mut() {
            Some(span) if span.outcome == outcome => {
                span.count += 1;
                span.last_at = sent_at;
            }
            _ => self.timeline.push(PingSpan {
                outcome,
                count: 1,
                first_at: sent_at,
                last_at: sent_at,
            }),
        }
    }

    pub fn answered(&self) -> u64 {
        self.timeline.iter().filter(|span| span.is_ok()).map(|span| span.count).sum()
    }

    pub fn failed(&self) -> u64 {
        self.timeline.iter().filter(|span| !span.is_ok()).map(|span| span.count).sum()
    }

    /// Pings that were never answered.
    pub fn lost(&self) -> u64 {
        self.failed() - self.late
    }

    /// When the first ping that failed was sent.
    pub fn first_failed_at(&self) -> Option<u64> {
        self.timeline.iter().find(|span| !span.is_ok()).map(|span| span.first_at)
    }

    /// When the last ping that failed was sent.
    pub fn last_failed_at(&self) -> Option<u64> {
        self.timeline.iter().rfind(|span| !span.is_ok()).map(|span| span.last_at)
    }

    /// When, after the last failure, the first ping was sent that was answered.
    pub fn recovered_at(&self) -> Option<u64> {
        let last = self.timeline.last().filter(|span| span.is_ok())?;
        (self.failed() > 0).then_some(last.first_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::TIMEOUT;

    #[test]
    fn a_timeline_tells_when_it_broke_and_recovered() {
        let mut pinged = Pinged::default();
        for (sent_at, outcome) in
            [(1, PingSpan::OK), (2, PingSpan::OK), (3, TIMEOUT), (4, "EPERM"), (5, PingSpan::OK)]
        {
            pinged.record(sent_at, outcome.to_owned());
        }
        assert_eq!(pinged.timeline.len(), 4);
        assert_eq!((pinged.answered(), pinged.failed()), (3, 2));
        assert_eq!((pinged.first_failed_at(), pinged.last_failed_at()), (Some(3), Some(4)));
        assert_eq!(pinged.recovered_at(), Some(5));
        pinged.record(6, TIMEOUT.to_owned());
        assert_eq!(pinged.recovered_at(), None);
    }
}
