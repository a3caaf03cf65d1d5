//! Programs of the system that the tests, the demo and the benchmark call.

use anyhow::Result;

use super::packages;

/// `ip` lays out the network namespaces, `iptables` is what the benchmark compares drops with.
const PACKAGES: &[&str] = &["iproute2", "iptables"];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)
}
