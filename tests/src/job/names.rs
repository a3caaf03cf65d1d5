//! A job that asks the name servers of its system.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Looks a name up, so many times. A name with a dot at its end is asked for as it is; each time asks for its IPv4 and its
/// IPv6 addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookUps {
    pub name: String,
    pub times: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedUp {
    /// How often an address was found.
    pub found: u64,
    /// How often none was.
    pub failed: u64,
    /// All that were found.
    pub addresses: BTreeSet<IpAddr>,
}
