//! What `cargo xtask` hands to the programs that run a Kubernetes node: a machine that is ready to
//! be booted.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use chaos_guest::CgroupDriver;
use serde::{Deserialize, Serialize};

/// The environment variable that names the file with the [`NodeKit`].
pub const KIT_VARIABLE: &str = "CHAOS_NODE_KIT";

/// The environment variable with the moment, in seconds since 1970, from which on the tests of a node begin none.
pub const END_VARIABLE: &str = "CHAOS_NODE_TESTS_END";

/// A machine whose first command makes it a node, as soon as its setup is written and it has a
/// network interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeKit {
    /// The kernel's name in the lab, such as `debian-6.12`.
    pub kernel: String,
    /// Who lays out the node's cgroups.
    pub cgroups: CgroupDriver,
    /// The command that boots it, without a network interface. It prints what the node prints.
    pub qemu: Vec<String>,
    /// Where the kernel logs to.
    pub log: PathBuf,
    /// The directory with the node's files: [`NodeKit::SETUP`] is read from there.
    pub dir: PathBuf,
    /// The archive with the images of all containers.
    pub images: PathBuf,
}

impl NodeKit {
    /// The file in `dir` that the node reads, a `chaos_guest::NodeSetup` as JSON.
    pub const SETUP: &str = "setup.json";

    /// The agent's image as the manifests name it.
    pub const AGENT_IMAGE: &str = concat!("chaos-agent:", env!("CARGO_PKG_VERSION"));
    /// The program `victim` of the integration crate.
    pub const VICTIM_IMAGE: &str = "victim:1";
    /// This machine's `redis-server`.
    pub const REDIS_IMAGE: &str = "redis:1";
    /// The name server of the cluster.
    pub const DNS_IMAGE: &str = "coredns:1";
    /// What holds a pod's namespaces.
    pub const PAUSE_IMAGE: &str = "pause:1";

    /// Reads the kit that [`KIT_VARIABLE`] names.
    ///
    /// # Errors
    /// Says what to run where there is none.
    pub fn from_environment() -> Result<Self> {
        let path = env::var_os(KIT_VARIABLE)
            .with_context(|| format!("{KIT_VARIABLE} is not set: run `cargo xtask test --node`"))?;
        let path = PathBuf::from(path);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// Writes the kit to a file.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("write a kit")?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}
