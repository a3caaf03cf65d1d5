//! Tells which of several cgroups with the name of one container or pod its runtime made.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{container::container_of_name, pod::pod_of_name};

/// How the scopes of runtimes' containers are named before the id.
const RUNTIMES: [&str; 5] = ["cri-containerd", "crio", "docker", "libpod", "nerdctl"];

/// Cgroups below which a runtime without systemd puts its containers.
const PARENTS: [&str; 4] = ["docker", "k8s.io", "default", "libpod_parent"];

/// What speaks against a cgroup. A runtime of the node puts its own where nobody but the administrator
/// makes cgroups; containers and users may make some of any name below their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Doubt {
    is_within_workload: bool,
    is_users: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    InPod,
    OfRuntime,
    Elsewhere,
}

/// Whether the last part of the path names a container or a pod.
pub(super) fn is_workload(path: &Path) -> bool {
    names_pod(path) || path.file_name().is_some_and(|name| container_of_name(name).is_some())
}

/// Whether the last part of the path names a pod.
pub(super) fn names_pod(path: &Path) -> bool {
    let above = path.parent().and_then(Path::file_name);
    path.file_name().is_some_and(|name| pod_of_name(name, above).is_some())
}

/// Those that nothing speaks against more than against another.
pub(super) fn most_likely(mut found: Vec<PathBuf>) -> Vec<PathBuf> {
    let Some(least) = found.iter().map(|path| doubt(path)).min() else { return found };
    found.retain(|path| doubt(path) == least);
    found
}

fn doubt(path: &Path) -> Doubt {
    let around = || path.ancestors().skip(1);
    let container_around =
        around().filter_map(Path::file_name).any(|name| container_of_name(name).is_some());
    Doubt {
        // Its own pod is around a container.
        is_within_workload: container_around || around().skip(1).any(names_pod),
        is_users: around().filter_map(Path::file_name).any(is_users),
        place: place(path),
    }
}

fn is_users(name: &OsStr) -> bool {
    name == "user.slice" || name.to_str().is_some_and(|name| name.starts_with("user@"))
}

fn place(path: &Path) -> Place {
    let Some(above) = path.parent() else { return Place::Elsewhere };
    if names_pod(path) || names_pod(above) {
        return Place::InPod;
    }
    let name =
        |path: &Path| path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let scope = name(path);
    let owner = scope.strip_suffix(".scope").and_then(|scope| scope.rsplit_once('-'));
    let is_of_runtime = owner.is_some_and(|(owner, _)| RUNTIMES.contains(&owner))
        || PARENTS.contains(&name(above).as_str());
    if is_of_runtime { Place::OfRuntime } else { Place::Elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::id;

    fn best(paths: &[&str]) -> Vec<String> {
        let found = paths.iter().map(PathBuf::from).collect();
        most_likely(found).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn where_a_runtime_puts_it_comes_before_everywhere_else() {
        let (a, b) = (id('a'), id('b'));
        let real = [
            format!("kubepods.slice/kubepods-pod0f.slice/cri-containerd-{a}.scope"),
            format!("kubepods/burstable/pod0f/{a}"),
            format!("system.slice/docker-{a}.scope"),
            format!("machine.slice/libpod-{a}.scope"),
            format!("docker/{a}"),
        ];
        let made = [
            a.clone(),
            format!("tmp/{a}"),
            format!("system.slice/docker-{b}.scope/docker-{a}.scope"),
            format!("system.slice/docker-{b}.scope/kubepods/pod0f/{a}"),
            format!("kubepods/pod1f/{b}/kubepods/pod0f/{a}"),
            format!(
                "user.slice/user-1000.slice/kubepods.slice/kubepods-pod0f.slice/crio-{a}.scope"
            ),
            format!("user.slice/user-1000.slice/user@1000.service/docker-{a}.scope"),
        ];
        for real in &real {
            for made in &made {
                assert_eq!(best(&[made, real]), [real.as_str()], "{made}");
            }
        }
    }

    #[test]
    fn equally_good_ones_stay() {
        let a = id('a');
        let two =
            [format!("system.slice/docker-{a}.scope"), format!("other.slice/docker-{a}.scope")];
        assert_eq!(best(&[&two[0], &two[1]]), two);
        assert!(best(&[]).is_empty());
    }
}
