//! What boots the lab's kernels.

use anyhow::Result;

use super::packages;

/// `depmod` is in kmod, the guest's `ip` is this machine's.
const PACKAGES: &[&str] = &["qemu-system-x86", "kmod", "iproute2"];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)
}
