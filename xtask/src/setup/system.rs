//! Programs of the system that the tests, the demo and the benchmark call.

use anyhow::Result;

use super::packages;

/// `ip` lays out the network namespaces, `ethtool` says what their interfaces segment, `iptables` is what
/// the benchmark compares drops with, `strace` what failing calls are compared with, musl's compiler
/// makes a victim of them, `runc` starts containers, the databases are put on disks that fail, and they
/// and nginx have clients whose network fails.
const PACKAGES: &[&str] = &[
    "curl",
    "ethtool",
    "iproute2",
    "iptables",
    "musl-tools",
    "nginx-light",
    "postgresql",
    "redis-server",
    "redis-tools",
    "runc",
    "sqlite3",
    "strace",
];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)
}
