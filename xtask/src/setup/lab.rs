//! What boots the lab's kernels.

use anyhow::Result;

use super::packages;

/// `depmod` is in kmod, the guest's `ip` is this machine's.
const PACKAGES: &[&str] = &["qemu-system-x86", "kmod", "iproute2"];

/// What the kernel of our own is built with; `pahole`, which makes its BTF, is in dwarves.
const KERNEL_BUILD: &[&str] =
    &["bc", "bison", "dwarves", "flex", "gcc", "libc6-dev", "libelf-dev", "make", "xz-utils"];

pub fn ensure() -> Result<()> {
    packages::install(&[PACKAGES, KERNEL_BUILD].concat())
}
