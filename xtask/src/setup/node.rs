//! The programs of a Kubernetes node: kubelet, kube-proxy, containerd, runc, CNI plugins, CoreDNS, and the
//! parts of the control plane that run pods.

use anyhow::Result;
use xtask::node_binaries;

use super::{go, packages, progress};

/// runc is linked with libseccomp, statically.
const PACKAGES: &[&str] = &["gcc", "libc6-dev", "libseccomp-dev", "pkg-config"];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)?;
    for source in node_binaries::sources()? {
        if source.is_built()? {
            continue;
        }
        let names: Vec<&str> =
            source.packages.iter().filter_map(|package| package.rsplit('/').next()).collect();
        progress(&format!("building {}", names.join(", ")));
        go::build(
            &source.module,
            &source.module.cache_dir()?,
            &source.packages,
            &source.environment,
        )?;
    }
    Ok(())
}
