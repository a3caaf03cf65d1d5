//! A job over HTTP.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// Serves a page with the number of its visits, which are counted in a Redis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisPage {
    pub bind: SocketAddr,
    /// The Redis, `HOST:PORT`, looked up and connected to anew for each visit.
    pub store: String,
    /// How long connecting to it, and its answer, may take.
    pub timeout: Duration,
    /// Where the Redis gives no number, the one that it gave last is shown.
    #[serde(default)]
    pub stale: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesServed {
    /// Whole requests.
    pub requests: u64,
    /// Those for which the Redis gave no number.
    pub errors: u64,
}
