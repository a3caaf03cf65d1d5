//! Jobs over TCP. Connecting again and again is a [`super::Call`].

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Arrival;

/// Accepts connections and closes them at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TcpServe {
    pub bind: SocketAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpServed {
    pub accepted: u64,
}

/// Connects once and sends a stream whose every byte is known ([`crate::payload`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TcpSend {
    pub to: SocketAddr,
    pub bytes: u64,
    /// How long connecting, and each write, may stall.
    pub timeout: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSent {
    /// What the kernel took.
    pub bytes: u64,
    /// What ended it early: an errno's name, or [`crate::tally::TIMEOUT`].
    pub error: Option<String>,
}

/// Accepts one connection and checks every byte of its stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TcpReceive {
    pub bind: SocketAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReceived {
    pub bytes: u64,
    pub wrong_bytes: u64,
    pub arrival: Option<Arrival>,
    /// What ended it other than the end of the stream: an errno's name, or
    /// [`crate::tally::TIMEOUT`] where it was stopped first.
    pub error: Option<String>,
}
