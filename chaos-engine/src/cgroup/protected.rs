//! What is never a target, whoever asks.

use std::{ffi::OsStr, fmt, io, path::Path};

use super::{
    Cgroup, CgroupRoot, TargetError,
    container::container_of_name,
    patrol::Round,
    placement::{is_workload, names_pod},
    pod::is_sandbox,
    tree::Step,
};

/// Programs that keep a node alive, by the names of their files.
const DAEMONS: [&str; 13] = [
    "kubelet",
    "containerd",
    "dockerd",
    "cri-dockerd",
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

/// What the programs begin with that stand between containerd and its containers, one for each runtime.
const SHIM: &str = "containerd-shim";

/// Cgroups of such programs, by name: systemd's units and those of machines without systemd.
const UNITS: [&str; 16] = [
    "init.scope",
    "kubelet.service",
    "containerd.service",
    "docker.service",
    "crio.service",
    "cri-docker.service",
    "cri-dockerd.service",
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
    match Round::default().finish(root, cgroup)? {
        Some(reason) => refuse(reason),
        None => Ok(()),
    }
}

/// Refuses a cgroup that holds pods and is none itself, such as the slice of all pods: whoever names it
/// means one of them more often than all.
pub(super) fn refuse_pods(cgroup: &Cgroup) -> Result<(), TargetError> {
    match pods_within(cgroup)? {
        0 => Ok(()),
        pods => Err(TargetError::HoldsPods { path: cgroup.path().to_owned(), pods }),
    }
}

/// How many pods there are below the cgroup; none in one that is, or is part of, a pod or a container.
pub(super) fn pods_within(cgroup: &Cgroup) -> Result<usize, TargetError> {
    if is_workload(cgroup.path()) {
        return Ok(0);
    }
    let mut pods = 0;
    cgroup.walk(&mut |path| {
        let path = cgroup.path().join(path);
        pods += usize::from(names_pod(&path));
        if is_workload(&path) { Step::Skip } else { Step::Descend }
    })?;
    Ok(pods)
}

/// The node service whose cgroup is called like this.
pub(super) fn service_of_name(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    (UNITS.contains(&name) || is_conmon(name)).then(|| name.to_owned())
}

/// Whether a cgroup of this name is that of conmon, which watches over a container:
/// `crio-conmon-<id>.scope`, `libpod-conmon-<id>.scope`, or the same without `.scope`.
fn is_conmon(name: &str) -> bool {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    name.rsplit_once('-').is_some_and(|(owner, id)| {
        (owner == "conmon" || owner.ends_with("-conmon"))
            && !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Why a process protects the cgroup that it is in, if it does. A daemon of the node is known by the
/// file that it runs, as root: what it calls itself anybody may call himself.
pub(super) fn protecting(root: &CgroupRoot, pid: i32) -> Option<ProtectedReason> {
    if pid == 1 {
        return Some(ProtectedReason::HoldsInit);
    }
    let name = match root.proc.program(pid) {
        Ok(name) => name?,
        // Not to be seen: then its own word must do.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => root.proc.comm(pid)?,
        Err(_) => return None,
    };
    let is_daemon = DAEMONS.contains(&name.as_str()) || name.starts_with(SHIM);
    (is_daemon && root.proc.is_roots(pid)).then_some(ProtectedReason::HoldsNodeService(name))
}

/// The node service that this path lies in, unless a container or pod begins further down.
fn service_around(path: &Path) -> Option<String> {
    path.ancestors()
        .take_while(|ancestor| !is_workload(ancestor))
        .find_map(|ancestor| ancestor.file_name().and_then(service_of_name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

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
    fn runtimes_are_known_by_what_they_run() {
        let tree = FakeTree::new();
        tree.process(10, "containerd-shim", "a/shim");
        tree.program(11, "containerd-shim", "/usr/bin/containerd-shim-runc-v2", 0, "a/shim2");
        tree.program(12, "tini", "/opt/bin/cri-dockerd", 0, "a/cri");
        tree.program(13, "containerd", "/usr/bin/containerd (deleted)", 0, "a/upgraded");
        tree.program(14, "kubelet", "/usr/bin/sleep", 0, "a/pretender");
        tree.program(15, "kubelet", "/home/user/kubelet", 1000, "a/users");
        tree.cgroup("a/my-conmon-exporter.service");
        tree.cgroup("a/conmon.service");
        tree.cgroup(&format!("a/libpod-conmon-{}.scope", id('e')));
        tree.cgroup(&format!("a/crio-conmon-{}", id('e')));
        for (cgroup, name) in [
            ("/a/shim", Some("containerd-shim")),
            ("/a/shim2", Some("containerd-shim-runc-v2")),
            ("/a/cri", Some("cri-dockerd")),
            ("/a/upgraded", Some("containerd")),
            ("/a/pretender", None),
            ("/a/users", None),
            ("/a/my-conmon-exporter.service", None),
            ("/a/conmon.service", None),
        ] {
            let expected = name.map(|name| ProtectedReason::HoldsNodeService(name.to_owned()));
            assert_eq!(reason(&tree, cgroup), expected, "{cgroup}");
        }
        for conmon in
            [format!("/a/libpod-conmon-{}.scope", id('e')), format!("/a/crio-conmon-{}", id('e'))]
        {
            assert!(
                matches!(reason(&tree, &conmon), Some(ProtectedReason::NodeService(_))),
                "{conmon}"
            );
        }
    }

    #[test]
    fn what_holds_pods_is_told_from_a_pod() {
        let tree = FakeTree::new();
        let pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f.slice";
        let container = format!("{pod}/cri-containerd-{}.scope", id('a'));
        tree.cgroup(&format!("{container}/kubepods/pod99"));
        tree.cgroup("kubepods.slice/kubepods-pod1f.slice");
        tree.cgroup("system.slice/nginx.service");
        let root = tree.root();
        let pods = |path: &str| pods_within(&root.open(Path::new(path)).unwrap()).unwrap();
        assert_eq!(pods("/kubepods.slice"), 2);
        assert_eq!(pods("/kubepods.slice/kubepods-burstable.slice"), 1);
        assert_eq!(pods(&format!("/{pod}")), 0);
        assert_eq!(pods(&format!("/{container}")), 0);
        assert_eq!(pods("/system.slice"), 0);
        let error = refuse_pods(&root.open(Path::new("/kubepods.slice")).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("2 pods") && error.to_string().contains("--force"),
            "{error}"
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
