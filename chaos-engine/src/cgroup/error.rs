//! Why something cannot be a target.

use std::{io, path::PathBuf};

use chaos_api::Malformed;
use thiserror::Error;

use super::protected::ProtectedReason;

/// What went wrong between the words of a user and a [`super::Target`].
#[derive(Debug, Error)]
pub enum TargetError {
    #[error(
        "no cgroup v2 hierarchy is mounted; mount one, or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NoCgroup2,
    #[error(
        "no cgroup v2 hierarchy is mounted in this mount namespace, and that of another one is not to be \
         seen: {reason}; run as root, or enter a network namespace by `nsenter --net=/run/netns/NAME` in \
         place of `ip netns exec`, which hides the mount"
    )]
    HiddenHierarchy { reason: String },
    #[error(
        "{mount} shows only a part of the cgroup hierarchy, and how deep it lies cannot be told; \
         mount the host's /sys/fs/cgroup instead, or grant CAP_DAC_READ_SEARCH"
    )]
    PartialHierarchy { mount: PathBuf },
    #[error(
        "the agent's own cgroup was not found below {mount}; mount the host's /sys/fs/cgroup there"
    )]
    OwnCgroupHidden { mount: PathBuf },
    #[error("{path:?} is not a cgroup path: {reason}")]
    BadPath { path: PathBuf, reason: &'static str },
    #[error(
        "{path} is not below {mount}, where cgroup v2 is mounted; give a path in that hierarchy"
    )]
    NotCgroup2 { path: PathBuf, mount: PathBuf },
    #[error("no cgroup {path} below {mount}")]
    NoSuchCgroup { path: PathBuf, mount: PathBuf },
    #[error("{what} is in the root cgroup, which holds the whole machine; {remedy}")]
    RootCgroup { what: String, remedy: &'static str },
    #[error("{path} is protected: {reason}")]
    Protected { path: PathBuf, reason: ProtectedReason },
    #[error(
        "{path} holds {}, and faults would hit all that runs in {}, now and later; name one \
         with --container or the --cgroup of its own, or say --force",
        count(.pods), them(.pods)
    )]
    HoldsPods { path: PathBuf, pods: usize },
    #[error("{path} cannot be killed: this kernel has no cgroup.kill, which came with Linux 5.14")]
    NoKill { path: PathBuf },
    #[error("no process {pid}")]
    NoSuchProcess { pid: i32 },
    #[error("process {pid} is in cgroup {path}, which lies outside what is mounted at {mount}")]
    OutsideMount { pid: i32, path: PathBuf, mount: PathBuf },
    #[error(
        "{path} has processes that the agent cannot see; run it in the host's pid namespace \
         (hostPID: true)"
    )]
    HiddenProcesses { path: PathBuf },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no {what} below {mount}{}", hint(.near))]
    NotFound { what: String, mount: PathBuf, near: Vec<String> },
    #[error(
        "there is no {links}, where the kubelet notes which containers run under which names: is \
         there a kubelet here? Name the container by its id"
    )]
    NoKubelet { links: PathBuf },
    #[error("{what} is ambiguous: {}", .candidates.join(", "))]
    Ambiguous { what: String, candidates: Vec<String> },
    #[error("cannot {doing} {object}: {source}")]
    Io { doing: &'static str, object: PathBuf, source: io::Error },
}

pub(super) fn count(pods: &usize) -> String {
    if *pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") }
}

fn them(pods: &usize) -> &'static str {
    if *pods == 1 { "it" } else { "them" }
}

fn hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) }
}

impl TargetError {
    pub(super) fn io(
        doing: &'static str,
        object: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { doing, object: object.into(), source: source.into() }
    }
}
