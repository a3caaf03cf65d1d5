//! Pods by their UID, wherever a kubelet puts their cgroups.
//!
//! The names are those of the kubelet's cgroup manager (pkg/kubelet/cm/cgroup_manager_linux.go
//! and pod_container_manager_linux.go): `pod<uid>` with the cgroupfs driver,
//! `…-pod<uid with underscores>.slice` with the systemd driver.

use std::{ffi::OsStr, path::Path};

use chaos_api::{ContainerId, PodUid};

use super::{
    Cgroup, CgroupRoot, TargetError,
    container::{absolute, container_of_name},
    placement::most_likely,
    process::Proc,
    tree::Step,
};

/// What the kubelet's pause container runs; `comm` is cut to 15 bytes.
const SANDBOX_PROGRAMS: [&str; 1] = ["pause"];

/// The UID in the name of a pod's cgroup, given the name of the cgroup above it.
pub(super) fn pod_of_name(name: &OsStr, above: Option<&OsStr>) -> Option<PodUid> {
    let name = name.to_str()?;
    if let Some(slice) = name.strip_suffix(".slice") {
        let (owner, uid) = slice.rsplit_once("-pod")?;
        return owner.contains("kubepods").then(|| uid.parse().ok())?;
    }
    let above = above?.to_str()?;
    let is_quality_of_service =
        above.contains("kubepods") || above == "burstable" || above == "besteffort";
    is_quality_of_service.then(|| name.strip_prefix("pod")?.parse().ok())?
}

/// The cgroup of a pod: every container of it, now and later.
#[derive(Debug, Clone)]
pub struct PodCgroup {
    pub uid: PodUid,
    pub cgroup: Cgroup,
    proc: Proc,
}

/// One container's cgroup within a pod.
#[derive(Debug, Clone)]
pub struct ContainerCgroup {
    pub id: ContainerId,
    pub cgroup: Cgroup,
    pub role: ContainerRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerRole {
    Workload,
    /// The pause container, which only holds the pod's namespaces. Never a target by itself.
    Sandbox,
}

impl PodCgroup {
    /// The containers that have a cgroup now, the sandbox among them.
    pub fn containers(&self) -> Result<Vec<ContainerCgroup>, TargetError> {
        let mut found = Vec::new();
        self.cgroup.walk(&mut |path| match path.file_name().and_then(container_of_name) {
            Some(id) => {
                found.push((id, path.to_owned()));
                Step::Skip
            }
            None => Step::Descend,
        })?;
        let mut containers = Vec::with_capacity(found.len());
        for (id, path) in found {
            // It may have ended since.
            let Ok(cgroup) = self.cgroup.below(&path) else { continue };
            let role = role_of(&cgroup, &self.proc)?;
            containers.push(ContainerCgroup { id, cgroup, role });
        }
        Ok(containers)
    }

    /// The workload container of this id (whole or prefix). The sandbox is refused.
    pub fn container(&self, id: &ContainerId) -> Result<ContainerCgroup, TargetError> {
        let what = format!("container {} in pod {}", id.short(), self.uid);
        let containers = self.containers()?;
        let (mut wanted, others): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|container| id.matches(&container.id));
        match (wanted.pop(), wanted.as_slice()) {
            (Some(one), []) if one.role == ContainerRole::Sandbox => Err(TargetError::Protected {
                path: one.cgroup.path().to_owned(),
                reason: super::ProtectedReason::Sandbox,
            }),
            (Some(one), []) => Ok(one),
            (None, _) => Err(TargetError::NotFound {
                what,
                mount: self.cgroup.path().to_owned(),
                near: others
                    .iter()
                    .filter(|container| container.role == ContainerRole::Workload)
                    .map(|container| container.id.short().to_owned())
                    .collect(),
            }),
            (Some(last), rest) => Err(TargetError::Ambiguous {
                what,
                candidates: rest
                    .iter()
                    .chain([&last])
                    .map(|container| container.cgroup.path().display().to_string())
                    .collect(),
            }),
        }
    }

    /// Whether one of these containers, as the pod's status names them, runs in this cgroup:
    /// proof that it is the pod's.
    pub fn is_confirmed_by(&self, status: &[ContainerId]) -> Result<bool, TargetError> {
        let here = self.containers()?;
        Ok(status.iter().any(|id| here.iter().any(|container| id.matches(&container.id))))
    }
}

fn role_of(cgroup: &Cgroup, proc: &Proc) -> Result<ContainerRole, TargetError> {
    let pids = cgroup.processes()?;
    let sandbox = !pids.is_empty() && pids.iter().all(|&pid| runs_sandbox(pid, proc));
    Ok(if sandbox { ContainerRole::Sandbox } else { ContainerRole::Workload })
}

fn runs_sandbox(pid: i32, proc: &Proc) -> bool {
    proc.comm(pid).is_some_and(|comm| SANDBOX_PROGRAMS.contains(&comm.as_str()))
}

/// Whether a process is that of a pause container: it makes no call that a fault could be meant for.
pub fn is_sandbox_process(root: &CgroupRoot, pid: i32) -> bool {
    runs_sandbox(pid, &root.proc)
}

/// Whether a container's cgroup holds nothing but a pause program.
pub(super) fn is_sandbox(cgroup: &Cgroup, root: &CgroupRoot) -> Result<bool, TargetError> {
    Ok(role_of(cgroup, &root.proc)? == ContainerRole::Sandbox)
}

/// Finds the cgroup of a pod: any quality of service, either cgroup driver, any `--cgroup-root`,
/// also on a node that is itself a container.
pub fn find_pod(root: &CgroupRoot, uid: &PodUid) -> Result<PodCgroup, TargetError> {
    let mut found = Vec::new();
    root.top().walk(&mut |path| {
        let above = path.parent().and_then(Path::file_name);
        match path.file_name().and_then(|name| pod_of_name(name, above)) {
            Some(here) => {
                if here == *uid {
                    found.push(path.to_owned());
                }
                Step::Skip
            }
            None => Step::Descend,
        }
    })?;
    if found.len() > 1 {
        // A kubelet that changed its driver or root may leave the old, empty cgroup behind.
        found.retain(|path| {
            let pids = root.top().below(path).and_then(|cgroup| cgroup.processes());
            pids.map_or(true, |pids| !pids.is_empty())
        });
    }
    match most_likely(found).as_slice() {
        [path] => Ok(PodCgroup {
            uid: uid.clone(),
            cgroup: root.top().below(path)?,
            proc: root.proc.clone(),
        }),
        [] => Err(TargetError::NotFound {
            what: format!("pod {uid}"),
            mount: root.mount_point().to_owned(),
            near: Vec::new(),
        }),
        several => Err(TargetError::Ambiguous {
            what: format!("pod {uid}"),
            candidates: several.iter().map(|path| absolute(path)).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

    const UID: &str = "1b7a1c3e-0d5e-4b8e-9f51-6a1f0c9e2d34";
    const OTHER: &str = "ffffffff-0d5e-4b8e-9f51-6a1f0c9e2d34";

    fn layouts() -> Vec<(&'static str, String)> {
        let slice = UID.replace('-', "_");
        let kind = format!("system.slice/docker-{}.scope", id('9'));
        vec![
            ("systemd guaranteed", format!("kubepods.slice/kubepods-pod{slice}.slice")),
            (
                "systemd burstable",
                format!(
                    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice"
                ),
            ),
            (
                "systemd best effort",
                format!(
                    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice"
                ),
            ),
            ("cgroupfs guaranteed", format!("kubepods/pod{UID}")),
            ("cgroupfs burstable, k3s", format!("kubepods/burstable/pod{UID}")),
            ("cgroupfs best effort", format!("kubepods/besteffort/pod{UID}")),
            ("cgroup root", format!("site/nodes/kubepods/burstable/pod{UID}")),
            (
                "kind, seen from the node",
                format!(
                    "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
                     kubelet-kubepods-burstable-pod{slice}.slice"
                ),
            ),
            (
                "kind, seen from the machine",
                format!(
                    "{kind}/kubelet.slice/kubelet-kubepods.slice/\
                     kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{slice}.slice"
                ),
            ),
            ("k3d", format!("docker/{}/kubepods/besteffort/pod{UID}", id('9'))),
        ]
    }

    #[test]
    fn every_layout() {
        for (layout, path) in layouts() {
            let tree = FakeTree::new();
            tree.cgroup(&path);
            // A neighbour whose containers must not be taken for pods.
            let neighbour = path.replace(UID, OTHER).replace("1b7a1c3e", "ffffffff");
            tree.cgroup(&format!("{neighbour}/{}", id('a')));
            let found = find_pod(&tree.root(), &UID.parse().unwrap())
                .unwrap_or_else(|error| panic!("{layout}: {error}"));
            assert_eq!(found.cgroup.path(), Path::new("/").join(&path), "{layout}");
            let depth = u32::try_from(Path::new(&path).iter().count()).unwrap();
            assert_eq!(found.cgroup.level(), depth, "{layout}");
        }
    }

    #[test]
    fn static_pod_by_its_hash() {
        let hash = "b8f1d8a0c1d2e3f4a5b6c7d8e9f0a1b2";
        let tree = FakeTree::new();
        tree.cgroup(&format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice"
        ));
        assert!(find_pod(&tree.root(), &hash.parse().unwrap()).is_ok());
    }

    #[test]
    fn spelling_does_not_matter() {
        let one: PodUid = UID.parse().unwrap();
        assert_eq!(one, UID.replace('-', "_").to_uppercase().parse().unwrap());
        assert_eq!(one, UID.replace('-', "").parse().unwrap());
        assert_ne!(one, OTHER.parse().unwrap());
        for bad in ["", "--", "../x", "a/b", "a b", &"a".repeat(129)] {
            assert!(bad.parse::<PodUid>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_pod() {
        for (above, name) in [
            ("system.slice", "podman.service"),
            ("machine.slice", "podabc"),
            ("", "pod0f"),
            ("x", "my-pod0f.slice"),
            ("kubepods.slice", "kubepods-burstable.slice"),
            ("kubepods", "burstable"),
            ("kubepods", "pod"),
        ] {
            assert_eq!(pod_of_name(OsStr::new(name), Some(OsStr::new(above))), None, "{name}");
        }
    }

    #[test]
    fn the_left_over_empty_cgroup_of_the_other_driver_is_ignored() {
        let tree = FakeTree::new();
        tree.cgroup(&format!("kubepods/pod{UID}"));
        let live = format!("kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        tree.process(70, "nginx", &live);
        let root = tree.root();
        let uid = UID.parse().unwrap();
        assert_eq!(find_pod(&root, &uid).unwrap().cgroup.path(), Path::new("/").join(&live));
        tree.process(71, "nginx", &format!("kubepods/pod{UID}"));
        assert!(matches!(find_pod(&root, &uid), Err(TargetError::Ambiguous { .. })));
    }

    #[test]
    fn containers_and_the_sandbox() {
        let tree = FakeTree::new();
        let pod = format!("kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        tree.process(80, "pause", &format!("{pod}/crio-{}.scope", id('1')));
        tree.process(81, "nginx", &format!("{pod}/crio-{}.scope/container", id('2')));
        tree.process(82, "conmon", &format!("{pod}/crio-conmon-{}.scope", id('2')));
        tree.cgroup(&format!("{pod}/crio-{}.scope", id('3')));
        let pod = find_pod(&tree.root(), &UID.parse().unwrap()).unwrap();

        let mut roles: Vec<_> = pod
            .containers()
            .unwrap()
            .into_iter()
            .map(|container| (container.id.as_str()[..1].to_owned(), container.role))
            .collect();
        roles.sort_by(|one, other| one.0.cmp(&other.0));
        use ContainerRole::{Sandbox, Workload};
        assert_eq!(roles, [("1".into(), Sandbox), ("2".into(), Workload), ("3".into(), Workload)]);

        let get = |digit| pod.container(&id(digit).parse().unwrap());
        assert_eq!(get('2').unwrap().id.as_str(), id('2'));
        assert!(matches!(get('1'), Err(TargetError::Protected { .. })));
        let missing = get('4').unwrap_err().to_string();
        assert!(missing.contains("222222222222") && !missing.contains("1111"), "{missing}");

        assert!(
            pod.is_confirmed_by(&[id('7').parse().unwrap(), id('2').parse().unwrap()]).unwrap()
        );
        assert!(!pod.is_confirmed_by(&[id('7').parse().unwrap()]).unwrap());
    }
}
