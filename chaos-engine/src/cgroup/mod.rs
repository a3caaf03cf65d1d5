//! Targets: which cgroup v2 subtree a fault goes to.
//!
//! A [`TargetSpec`](chaos_api::TargetSpec) is what somebody wrote; [`resolve`] looks it up in the mounted
//! hierarchy ([`CgroupRoot`]) and gives a [`Target`], or the reason why not. Nothing here attaches
//! anything, and nothing knows the Kubernetes API.

mod child;
mod container;
mod container_name;
mod depth;
mod discover;
mod error;
#[cfg(test)]
mod fake;
mod hierarchy;
mod mount;
mod netns;
mod owner;
mod patrol;
mod pid;
mod placement;
mod pod;
mod process;
mod protected;
mod spec;
mod tree;
mod unit;
mod user_namespace;
mod view;

use chaos_api::{ContainerId, PodUid, UnitName};
pub use child::{TransientCgroup, collect_leftovers};
pub use container::find_container;
pub use error::TargetError;
pub use hierarchy::{Cgroup, CgroupRoot};
pub use mount::{CgroupMount, cgroup2_mounts};
pub use netns::{FoundNetNs, FoundNetNss, Interface, NetNs, NetNsKey};
pub use owner::Owner;
pub use patrol::Patrol;
pub use pid::find_cgroup_of;
pub use pod::{ContainerCgroup, ContainerRole, PodCgroup, find_pod, is_sandbox_process};
pub use protected::{ProtectedReason, refuse_protected};
pub use spec::{resolve, resolve_with_pods};
pub use unit::find_unit;
pub use view::{View, ViewKey, Whereabouts, join};

/// Where faults go: every task and socket in a cgroup's subtree, now and later.
#[derive(Debug, Clone)]
pub struct Target {
    /// For people: `unit:nginx.service`, `shop/web-0`.
    pub name: String,
    pub kind: TargetKind,
    pub cgroup: Cgroup,
    /// What whoever asked for this target may not expect.
    pub notes: Vec<String>,
}

/// How the target was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    Cgroup,
    Pid(i32),
    Unit(UnitName),
    Container(ContainerId),
    Pod {
        uid: PodUid,
        container: Option<ContainerId>,
    },
    /// The child of `run`.
    Child,
}

impl Target {
    fn new(
        root: &CgroupRoot,
        name: String,
        kind: TargetKind,
        cgroup: Cgroup,
        notes: Vec<String>,
    ) -> Result<Self, TargetError> {
        refuse_protected(root, &cgroup)?;
        Ok(Self { name, kind, cgroup, notes })
    }

    /// The child of `run`, whose cgroup this is.
    pub fn child(
        root: &CgroupRoot,
        name: impl Into<String>,
        cgroup: &TransientCgroup,
    ) -> Result<Self, TargetError> {
        Self::new(root, name.into(), TargetKind::Child, cgroup.cgroup().clone(), Vec::new())
    }

    /// The same target under a name that says more, such as `namespace/pod`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Whether the target still exists; cheap.
    pub fn is_alive(&self) -> bool {
        self.cgroup.is_alive()
    }

    /// The network namespaces of the target's processes, the outermost where they are very many.
    pub fn network_namespaces(&self, root: &CgroupRoot) -> Result<Vec<NetNs>, TargetError> {
        NetNs::of_cgroup(root, &self.cgroup)
    }

    /// Whether some of the target's processes use the host's network.
    pub fn shares_host_network(&self, root: &CgroupRoot) -> Result<bool, TargetError> {
        for namespace in self.network_namespaces(root)? {
            if namespace.is_host(root)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
