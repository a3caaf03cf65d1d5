//! What a machine of the lab is told that becomes a Kubernetes node.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A node's network, and what its programs are started with. Paths are the host's, whose files the
/// machine sees.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSetup {
    /// The node's address, with the length of the prefix.
    pub address: String,
    /// The host's address, by which everything else is reached.
    pub gateway: String,
    /// Who lays out the node's cgroups.
    pub cgroups: CgroupDriver,
    /// containerd's configuration.
    pub containerd: PathBuf,
    /// The directory with the seccomp profiles that pods may name.
    pub profiles: PathBuf,
    /// The archive with the images of all containers; none is pulled.
    pub images: PathBuf,
    /// The arguments of the kubelet.
    pub kubelet: Vec<String>,
    /// The arguments of kube-proxy.
    pub kube_proxy: Vec<String>,
}

/// Who makes the cgroups of pods, and so what they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// kubelet and runtime themselves: `kubepods/burstable/podUID/ID`.
    Cgroupfs,
    /// systemd: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/…-ID.scope`.
    Systemd,
}

impl fmt::Display for CgroupDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        })
    }
}
