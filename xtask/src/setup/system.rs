//! Programs of the system that the tests, the demo and the benchmark call.

use anyhow::Result;

use super::packages;

/// `ip` lays out the network namespaces, `iptables` is what the benchmark compares drops with,
/// `strace` what failing calls are compared with, musl's compiler makes a victim of them, and `runc`
/// starts containers.
const PACKAGES: &[&str] = &["iproute2", "iptables", "musl-tools", "runc", "strace"];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)
}
