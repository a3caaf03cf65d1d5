//! Containers by their id, as container runtimes name their cgroups.

use std::{ffi::OsStr, path::Path};

use chaos_api::{ContainerId, FULL_LENGTH};

use super::{Cgroup, CgroupRoot, TargetError, placement::most_likely, tree::Step};

/// Near matches named in an error.
const MAX_NEAR: usize = 3;

/// The container whose cgroup a directory of this name is: `cri-containerd-<id>.scope`,
/// `crio-<id>.scope`, `docker-<id>.scope`, `libpod-<id>.scope`, the plain `<id>` of the cgroupfs
/// driver, or `….slice:cri-containerd:<id>` where kubelet and runtime disagree on the driver.
/// The cgroups of conmon, which watches over a container, are not the container.
pub(super) fn container_of_name(name: &OsStr) -> Option<ContainerId> {
    let name = name.to_str()?;
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (owner, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    if owner.ends_with("conmon") || id.len() != FULL_LENGTH {
        return None;
    }
    id.parse().ok()
}

/// Finds the cgroup of a container, also of one within a container that is itself a node. A cgroup of
/// the container's name that lies where no runtime would have put it does not count beside one that
/// lies where it should.
pub fn find_container(root: &CgroupRoot, id: &ContainerId) -> Result<Cgroup, TargetError> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    root.top().walk(&mut |path| {
        let Some(here) = path.file_name().and_then(container_of_name) else {
            return Step::Descend;
        };
        if id.matches(&here) {
            found.push(path.to_owned());
            return Step::Skip;
        }
        others.push(here);
        Step::Descend
    })?;
    match most_likely(found).as_slice() {
        [path] => root.top().below(path),
        [] => Err(TargetError::NotFound {
            what: format!("container {id}"),
            mount: root.mount_point().to_owned(),
            near: nearest(id, others),
        }),
        several => Err(TargetError::Ambiguous {
            what: format!("container {id}"),
            candidates: several.iter().map(|path| absolute(path)).collect(),
        }),
    }
}

/// Known containers whose id begins like the wanted one (four digits or more), best first.
fn nearest(wanted: &ContainerId, known: Vec<ContainerId>) -> Vec<String> {
    let common = |id: &ContainerId| {
        id.as_str()
            .bytes()
            .zip(wanted.as_str().bytes())
            .take_while(|(one, other)| one == other)
            .count()
    };
    let mut near: Vec<_> = known.into_iter().filter(|id| common(id) >= 4).collect();
    near.sort_by_key(|id| std::cmp::Reverse(common(id)));
    near.dedup();
    near.into_iter().take(MAX_NEAR).map(String::from).collect()
}

pub(super) fn absolute(path: &Path) -> String {
    Path::new("/").join(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

    #[test]
    fn ids_as_tools_print_them() {
        for given in
            [id('a'), format!("containerd://{}", id('a')), format!("cri-o://{}", &id('a')[..12])]
        {
            assert!(given.parse::<ContainerId>().unwrap().matches(&id('a').parse().unwrap()));
        }
        let upper: ContainerId = id('a').to_uppercase().parse().unwrap();
        assert_eq!(upper.as_str(), id('a'));
        for bad in ["", "abc", "aaaaaaaaaaa", "containerd://", "gggggggggggg", "my-web-container"] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
        assert!(format!("{}0", id('a')).parse::<ContainerId>().is_err());
    }

    #[test]
    fn names_of_all_runtimes() {
        let expected: ContainerId = id('b').parse().unwrap();
        for pattern in [
            "cri-containerd-ID.scope",
            "crio-ID.scope",
            "docker-ID.scope",
            "libpod-ID.scope",
            "nerdctl-ID.scope",
            "ID",
            "crio-ID",
            "kubepods-burstable-pod0f.slice:cri-containerd:ID",
        ] {
            let name = pattern.replace("ID", expected.as_str());
            assert_eq!(container_of_name(OsStr::new(&name)).as_ref(), Some(&expected), "{name}");
        }
        for pattern in
            ["crio-conmon-ID.scope", "libpod-conmon-ID.scope", "conmon-ID", "docker-ab12.scope"]
        {
            let name = pattern.replace("ID", expected.as_str());
            assert_eq!(container_of_name(OsStr::new(&name)), None, "{name}");
        }
    }

    #[test]
    fn found_by_prefix_ambiguous_and_missing() {
        let tree = FakeTree::new();
        let one = format!("{}{}", "c".repeat(20), "1".repeat(44));
        let two = format!("{}{}", "c".repeat(20), "2".repeat(44));
        tree.cgroup(&format!("system.slice/docker-{one}.scope"));
        tree.cgroup(&format!("system.slice/docker-{two}.scope"));
        tree.cgroup(&format!("machine.slice/libpod-conmon-{}.scope", id('d')));
        let root = tree.root();
        let find = |given: &str| find_container(&root, &given.parse().unwrap());

        let found = find(&one[..21]).unwrap();
        assert_eq!(found.path(), Path::new(&format!("/system.slice/docker-{one}.scope")));
        assert_eq!(found.level(), 2);

        let ambiguous = find(&one[..12]).unwrap_err().to_string();
        assert!(ambiguous.contains(&one) && ambiguous.contains(&two), "{ambiguous}");

        let missing = find(&format!("cccc{}", "0".repeat(20))).unwrap_err().to_string();
        assert!(missing.contains("there is") && missing.contains(&one), "{missing}");

        // Whoever may make cgroups may give them any name.
        tree.cgroup(&format!("user.slice/user-1000.slice/docker-{one}.scope"));
        tree.cgroup(&format!("system.slice/docker-{two}.scope/{one}"));
        assert_eq!(find(&one).unwrap(), found);

        let conmon = find(&id('d')).unwrap_err().to_string();
        assert!(conmon.starts_with("no container") && !conmon.contains("there is"), "{conmon}");
    }

    /// A node that is a container: the pod's container lies inside the node's.
    #[test]
    fn inside_another_container() {
        let tree = FakeTree::new();
        let path = format!(
            "system.slice/docker-{}.scope/kubelet.slice/kubelet-kubepods.slice/\
             kubelet-kubepods-pod0f.slice/cri-containerd-{}.scope",
            id('e'),
            id('f')
        );
        tree.cgroup(&path);
        let root = tree.root();
        let found = find_container(&root, &id('f').parse().unwrap()).unwrap();
        assert_eq!(found.path(), Path::new("/").join(&path));
        assert_eq!(found.level(), 6);
    }
}
