//! Finds the container that runs under a name in a pod.
//!
//! No cgroup has such a name. The kubelet keeps a link for each container that leads to its log and has all names and the
//! id in its own: `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`.
//! <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/kuberuntime/legacy.go>

use std::{collections::BTreeSet, fs, io::ErrorKind};

use chaos_api::{ContainerId, ContainerName, FULL_LENGTH};

use super::{Cgroup, CgroupRoot, TargetError, find_container};

/// Where the links are, below the root directory of the node.
const LINKS: &str = "var/log/containers";

/// Containers of one name that are looked at: the kubelet keeps the links of few that have ended.
const MOST: usize = 64;

/// Finds it. Of containers that have been started one after the other under the name it is the one that has a cgroup.
///
/// # Errors
/// Where there is none, or several; and where there is no kubelet, or its links may not be read.
pub(super) fn find_container_by_name(
    root: &CgroupRoot,
    name: &ContainerName,
) -> Result<(ContainerId, Cgroup), TargetError> {
    let links = root.proc.root_directory(1).join(LINKS);
    let entries = fs::read_dir(&links).map_err(|error| match error.kind() {
        ErrorKind::NotFound => TargetError::NoKubelet { links: links.clone() },
        _ => TargetError::io("read", &links, error),
    })?;
    let (mut named, mut near) = (Vec::new(), BTreeSet::new());
    for entry in entries.flatten() {
        let file = entry.file_name();
        let Some((here, id)) = file.to_str().and_then(container_of_link) else { continue };
        if is_meant(name, &here) {
            named.push((here, id));
        } else if here.pod == name.pod || here.container == name.container {
            near.insert(here.to_string());
        }
    }
    named.truncate(MOST);
    let mut found = Vec::new();
    for (here, id) in named {
        match find_container(root, &id) {
            Ok(cgroup) => found.push((here, id, cgroup)),
            // One that was there before.
            Err(TargetError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match found.len() {
        0 => Err(TargetError::NotFound {
            what: format!("running container {name}"),
            mount: root.mount_point().to_owned(),
            near: near.into_iter().take(3).collect(),
        }),
        1 => Ok(found.remove(0)).map(|(_, id, cgroup)| (id, cgroup)),
        _ => Err(TargetError::Ambiguous {
            what: format!("container {name}"),
            candidates: found.iter().map(|(here, id, _)| format!("{here} ({id})")).collect(),
        }),
    }
}

fn is_meant(wanted: &ContainerName, here: &ContainerName) -> bool {
    let ContainerName { namespace, pod, container } = wanted;
    *pod == here.pod
        && *container == here.container
        && (namespace.is_none() || *namespace == here.namespace)
}

/// What a link is of.
fn container_of_link(file: &str) -> Option<(ContainerName, ContainerId)> {
    let (names, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
    if id.len() != FULL_LENGTH {
        return None;
    }
    // No name has an underscore.
    let mut names = names.split('_');
    let (pod, namespace, container) = (names.next()?, names.next()?, names.next()?);
    let name = ContainerName {
        namespace: Some(namespace.to_owned()),
        pod: pod.to_owned(),
        container: container.to_owned(),
    };
    names.next().is_none().then_some((name, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

    fn found(tree: &FakeTree, name: &str) -> Result<String, String> {
        find_container_by_name(&tree.root(), &name.parse().unwrap())
            .map(|(id, _)| id.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_one_that_runs_is_found_by_its_name() {
        let tree = FakeTree::new();
        let refused = found(&tree, "web-0/main").unwrap_err();
        assert!(refused.contains("is there a kubelet here?"), "{refused}");
        for (pod, digit) in [("web-0_shop", 'a'), ("web-0_shop", 'b'), ("db_shop", 'c')] {
            tree.file(&format!("proc/1/root/{LINKS}/{pod}_main-{}.log", id(digit)));
        }
        tree.file(&format!("proc/1/root/{LINKS}/web-0_bank_main-{}.log", id('d')));
        tree.file(&format!("proc/1/root/{LINKS}/web-0_bank_side-car-{}.log", id('e')));
        for other in ["x.log", "a_b_c-12.log", "web-0_shop_main.txt"] {
            tree.file(&format!("proc/1/root/{LINKS}/{other}"));
        }
        // The first of `web-0` has been started again.
        tree.cgroup(&format!("kubepods/pod0f/{}", id('b')));
        assert_eq!(found(&tree, "shop/web-0/main"), Ok(id('b')));
        assert_eq!(found(&tree, "web-0/main"), Ok(id('b')));
        let refused = found(&tree, "shop/db/main").unwrap_err();
        assert!(refused.contains("no running container shop/db/main"), "{refused}");
        assert!(refused.contains("shop/web-0/main"), "{refused}");
        for digit in ['d', 'e'] {
            tree.cgroup(&format!("kubepods/pod1f/{}", id(digit)));
        }
        let refused = found(&tree, "web-0/main").unwrap_err();
        assert!(refused.contains("ambiguous") && refused.contains("bank/web-0/main"), "{refused}");
        assert_eq!(found(&tree, "web-0/side-car"), Ok(id('e')));
    }
}
