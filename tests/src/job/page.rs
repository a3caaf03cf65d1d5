//! A job over HTTP.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// Serves a page with the number of its visits, which are counted in a Redis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisPage {
    pub bind: SocketAddr,
    /// The Redis, connected to anew for each visit.
    pub store: SocketAddr,
    /// How long connecting to it, and its answer, may take.
    pub timeout: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesServed {
    /// Whole requests.
    pub requests: u64,
    /// Those that were answered with an error, as the Redis gave no number.
    pub errors: u64,
}
