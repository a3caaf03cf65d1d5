//! What is never a target, whoever asks.

use std::{ffi::OsStr, fmt, path::Path};

use super::{
    Cgroup, CgroupRoot, TargetError,
    container::container_of_name,
    pod::{is_sandbox, pod_of_name},
    tree::Step,
};

/// Programs that keep a node alive, by the name the kernel has for them (cut to 15 bytes).
const DAEMONS: [&str; 12] = [
    "kubelet",
    "containerd",
    "dockerd",
    "crio",
    "k3s",
    "k3s-server",
    "k3s-agent",
    "rke2",
    "k0s",
    "kubelite",
    "conmon",
    "conmonrs",
];

/// Cgroups of such programs, by name: systemd's units and those of machines without systemd.
const UNITS: [&str; 15] = [
    "init.scope",
    "kubelet.service",
    "containerd.service",
    "docker.service",
    "crio.service",
    "cri-docker.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k0scontroller.service",
    "k0sworker.service",
    "snap.microk8s.daemon-kubelite.service",
    "snap.microk8s.daemon-containerd.service",
    "podruntime",
];

/// Why a cgroup is never a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtectedReason {
    /// The agent would break itself, and could not end the fault.
    HoldsAgent,
    /// The first process of the machine.
    HoldsInit,
    /// Part of what keeps the node alive: kubelet, container runtime, init.
    NodeService(String),
    /// A cgroup of the node's services lies below it.
    HoldsNodeService(String),
    /// The pause container: it holds the pod's namespaces and does nothing else.
    Sandbox,
}

impl fmt::Display for ProtectedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HoldsAgent => f.write_str("the agent itself runs in it"),
            Self::HoldsInit => f.write_str("process 1 runs in it"),
            Self::NodeService(name) => {
                write!(f, "it belongs to {name}, which keeps the node alive")
            }
            Self::HoldsNodeService(name) => {
                write!(f, "{name}, which keeps the node alive, runs in it")
            }
            Self::Sandbox => {
                f.write_str("it is the pause container, which only holds the namespaces of its pod")
            }
        }
    }
}

/// Refuses the root, the agent's own cgroup and those above it, process 1, the kubelet, the
/// container runtime and pause containers.
///
/// What runs inside a container is that container's business: a container that runs a runtime of
/// its own may be a target, the node's runtime may not.
pub fn refuse_protected(root: &CgroupRoot, cgroup: &Cgroup) -> Result<(), TargetError> {
    if cgroup.is_root() {
        return Err(TargetError::RootCgroup {
            what: "the target".to_owned(),
            remedy: "choose a cgroup below it",
        });
    }
    let refuse = |reason| Err(TargetError::Protected { path: cgroup.path().to_owned(), reason });
    if cgroup.contains(&root.own()?) {
        return refuse(ProtectedReason::HoldsAgent);
    }
    if let Some(name) = service_around(cgroup.path()) {
        return refuse(ProtectedReason::NodeService(name));
    }
    if is_workload(cgroup.path()) {
        let is_container = cgroup.path().file_name().and_then(container_of_name).is_some();
        return if is_container && is_sandbox(cgroup, root)? {
            refuse(ProtectedReason::Sandbox)
        } else {
            Ok(())
        };
    }
    match service_within(root, cgroup)? {
        Some(reason) => refuse(reason),
        None => Ok(()),
    }
}

fn is_service(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    (UNITS.contains(&name) || name.contains("conmon-")).then(|| name.to_owned())
}

/// Whether the last part of the path names a container or a pod.
fn is_workload(path: &Path) -> bool {
    let above = path.parent().and_then(Path::file_name);
    path.file_name()
        .is_some_and(|name| container_of_name(name).is_some() || pod_of_name(name, above).is_some())
}

/// The node service that this path lies in, unless a container or pod begins further down.
fn service_around(path: &Path) -> Option<String> {
    path.ancestors()
        .take_while(|ancestor| !is_workload(ancestor))
        .find_map(|ancestor| ancestor.file_name().and_then(is_service))
}

/// A node service below the cgroup, by the name of a cgroup or of a process; what is inside
/// containers and pods doesn't count.
fn service_within(
    root: &CgroupRoot,
    cgroup: &Cgroup,
) -> Result<Option<ProtectedReason>, TargetError> {
    let mut found = None;
    let mut looked_at = vec![cgroup.clone()];
    cgroup.walk(&mut |path| {
        if found.is_some() || is_workload(&cgroup.path().join(path)) {
            return Step::Skip;
        }
        found = path.file_name().and_then(is_service).map(ProtectedReason::HoldsNodeService);
        // Vanished meanwhile: nothing runs in it.
        looked_at.extend(cgroup.below(path));
        Step::Descend
    })?;
    if found.is_some() {
        return Ok(found);
    }
    for one in looked_at {
        for pid in one.direct_processes()? {
            if pid == 1 {
                return Ok(Some(ProtectedReason::HoldsInit));
            }
            if let Some(comm) = root.proc.comm(pid).filter(|comm| DAEMONS.contains(&comm.as_str()))
            {
                return Ok(Some(ProtectedReason::HoldsNodeService(comm)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::fake::{FakeTree, id};

    fn reason(tree: &FakeTree, path: &str) -> Option<ProtectedReason> {
        let root = tree.root();
        match refuse_protected(&root, &root.open(Path::new(path)).unwrap()) {
            Ok(()) => None,
            Err(TargetError::Protected { reason, .. }) => Some(reason),
            Err(other) => panic!("{path}: {other}"),
        }
    }

    #[test]
    fn the_agent_and_all_above_it() {
        let tree = FakeTree::new();
        let own = i32::try_from(std::process::id()).unwrap();
        tree.process(own, "chaos-agent", "user.slice/session.scope");
        tree.cgroup("user.slice/session.scope/chaos-agent-run-1");
        tree.cgroup("user.slice/session");
        assert_eq!(reason(&tree, "/user.slice"), Some(ProtectedReason::HoldsAgent));
        assert_eq!(reason(&tree, "/user.slice/session.scope"), Some(ProtectedReason::HoldsAgent));
        assert_eq!(reason(&tree, "/user.slice/session.scope/chaos-agent-run-1"), None);
        assert_eq!(reason(&tree, "/user.slice/session"), None);
    }

    #[test]
    fn node_services_by_name_and_by_process() {
        let tree = FakeTree::new();
        tree.cgroup("system.slice/kubelet.service");
        tree.cgroup("system.slice/containerd.service/inner");
        tree.cgroup("system.slice/nginx.service");
        tree.cgroup("init.scope");
        tree.process(1, "systemd", "boot");
        tree.process(90, "dockerd", "services/docker");
        tree.cgroup("kubepods.slice/kubepods-pod0f.slice/crio-conmon-a.scope");
        let node = |name: &str| Some(ProtectedReason::NodeService(name.to_owned()));
        let holds = |name: &str| Some(ProtectedReason::HoldsNodeService(name.to_owned()));
        assert_eq!(reason(&tree, "/system.slice/kubelet.service"), node("kubelet.service"));
        assert_eq!(
            reason(&tree, "/system.slice/containerd.service/inner"),
            node("containerd.service")
        );
        assert_eq!(reason(&tree, "/init.scope"), node("init.scope"));
        assert!(matches!(
            reason(&tree, "/system.slice"),
            Some(ProtectedReason::HoldsNodeService(_))
        ));
        assert_eq!(reason(&tree, "/system.slice/nginx.service"), None);
        assert_eq!(reason(&tree, "/boot"), Some(ProtectedReason::HoldsInit));
        assert_eq!(reason(&tree, "/services"), holds("dockerd"));
        assert!(
            reason(&tree, "/kubepods.slice/kubepods-pod0f.slice/crio-conmon-a.scope").is_some()
        );
    }

    #[test]
    fn containers_are_targets_but_their_sandbox_is_not() {
        let tree = FakeTree::new();
        let node = format!("system.slice/docker-{}.scope", id('a'));
        let inner = format!("system.slice/docker.service/docker/{}", id('b'));
        let pause = format!("kubepods/pod0f/{}", id('c'));
        tree.cgroup(&format!("{node}/system.slice/kubelet.service"));
        tree.cgroup(&inner);
        tree.process(91, "dockerd", &inner);
        tree.process(92, "pause", &pause);
        assert_eq!(reason(&tree, &format!("/{node}")), None);
        assert_eq!(reason(&tree, &format!("/{inner}")), None);
        assert_eq!(reason(&tree, "/kubepods/pod0f"), None);
        assert_eq!(reason(&tree, &format!("/{pause}")), Some(ProtectedReason::Sandbox));
        assert!(reason(&tree, &format!("/{node}/system.slice/kubelet.service")).is_some());
        assert!(reason(&tree, &format!("/{node}/system.slice")).is_some());
    }
}
