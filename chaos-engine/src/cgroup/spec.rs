//! Finds the cgroup of what somebody named.

use chaos_api::TargetSpec;

use super::{
    CgroupRoot, Target, TargetError, TargetKind,
    container_name::find_container_by_name,
    error, find_cgroup_of, find_container, find_pod, find_unit,
    protected::{pods_within, refuse_pods},
};

/// Finds the cgroup. Refuses what is never a target ([`super::refuse_protected`]), and what holds
/// pods and is none.
pub fn resolve(spec: &TargetSpec, root: &CgroupRoot) -> Result<Target, TargetError> {
    let target = resolve_any(spec, root)?;
    refuse_pods(&target.cgroup)?;
    Ok(target)
}

/// As [`resolve`], where whoever asks means all the pods that the cgroup holds, too.
pub fn resolve_with_pods(spec: &TargetSpec, root: &CgroupRoot) -> Result<Target, TargetError> {
    let mut target = resolve_any(spec, root)?;
    match pods_within(&target.cgroup)? {
        0 => {}
        pods => target.notes.push(format!("it holds {}", error::count(&pods))),
    }
    Ok(target)
}

fn resolve_any(spec: &TargetSpec, root: &CgroupRoot) -> Result<Target, TargetError> {
    let mut notes = Vec::new();
    let (kind, cgroup) = match spec {
        TargetSpec::Cgroup(path) => (TargetKind::Cgroup, root.open(path)?),
        TargetSpec::Pid(pid) => {
            let (cgroup, others) = find_cgroup_of(root, *pid)?;
            match others {
                0 => {}
                1 => notes.push(format!("1 other process shares the cgroup of process {pid}")),
                _ => notes
                    .push(format!("{others} other processes share the cgroup of process {pid}")),
            }
            (TargetKind::Pid(*pid), cgroup)
        }
        TargetSpec::Unit(unit) => (TargetKind::Unit(unit.clone()), find_unit(root, unit)?),
        TargetSpec::ContainerName(name) => {
            let (id, cgroup) = find_container_by_name(root, name)?;
            (TargetKind::Container(id), cgroup)
        }
        TargetSpec::Container(id) => (TargetKind::Container(id.clone()), find_container(root, id)?),
        TargetSpec::Pod { uid, container } => {
            let pod = find_pod(root, uid)?;
            let kind = TargetKind::Pod { uid: uid.clone(), container: container.clone() };
            match container {
                Some(id) => (kind, pod.container(id)?.cgroup),
                None => (kind, pod.cgroup),
            }
        }
    };
    Target::new(root, spec.to_string(), kind, cgroup, notes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

    #[test]
    fn resolves_with_notes_and_refusals() {
        let tree = FakeTree::new();
        tree.process(70, "server", "a.slice/b.scope");
        tree.process(71, "other", "a.slice/b.scope");
        tree.process(72, "pause", &format!("kubepods/pod0f/{}", id('a')));
        tree.process(73, "server", &format!("kubepods/pod0f/{}", id('b')));
        let root = tree.root();
        let resolve = |text: &str| resolve(&text.parse().unwrap(), &root);

        let target = resolve("pid:70").unwrap();
        assert_eq!(target.notes, ["1 other process shares the cgroup of process 70"]);
        assert_eq!(target.cgroup.path().to_str(), Some("/a.slice/b.scope"));
        assert_eq!(target.name, "pid:70");

        assert_eq!(resolve("pod:0f").unwrap().cgroup.level(), 2);
        assert_eq!(resolve(&format!("pod:0f/{}", id('b'))).unwrap().cgroup.level(), 3);
        for pause in [format!("pod:0f/{}", id('a')), format!("container:{}", id('a'))] {
            assert!(matches!(resolve(&pause), Err(TargetError::Protected { .. })), "{pause}");
        }
        assert!(matches!(resolve("/kubepods"), Err(TargetError::HoldsPods { pods: 1, .. })));
        let forced = resolve_with_pods(&"/kubepods".parse().unwrap(), &root).unwrap();
        assert_eq!(forced.notes, ["it holds 1 pod"]);
        assert!(matches!(resolve("/"), Err(TargetError::RootCgroup { .. })));
        assert!(matches!(resolve("/none"), Err(TargetError::NoSuchCgroup { .. })));
        assert!(matches!(resolve("cgroup:../x"), Err(TargetError::BadPath { .. })));
    }
}
