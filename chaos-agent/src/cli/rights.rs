//! Whether this process has the rights that breaking something takes.

use anyhow::bail;
use caps::{CapSet, Capability};

/// What loading and attaching our programs takes, and finding and entering the network namespaces
/// of targets (capabilities(7)). CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, too.
pub const NEEDED: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE];

/// What is to be done where they are missing. Root in a container need not have them.
pub fn remedy() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "grant the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_SYS_PTRACE"
    } else {
        "run as root, such as by sudo"
    }
}

/// Whether it may load any of our programs. Without that right nothing has to be tried to know that
/// nothing works.
pub fn may_load_programs() -> bool {
    [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .any(|capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or_default())
}

/// Refuses to go on where it may not.
pub fn require() -> anyhow::Result<()> {
    if !may_load_programs() {
        bail!("no right to inject faults; {}", remedy());
    }
    Ok(())
}
