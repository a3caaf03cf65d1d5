//! The cgroup around a process.

use super::{Cgroup, CgroupRoot, TargetError};

/// The cgroup of a process, and how many other processes are in it or below: they are part of
/// the target too.
pub fn find_cgroup_of(root: &CgroupRoot, pid: i32) -> Result<(Cgroup, usize), TargetError> {
    let cgroup = root.of_process(pid)?;
    if cgroup.is_root() {
        return Err(TargetError::RootCgroup {
            what: format!("process {pid}"),
            remedy: "start it with `chaos-agent run` or `systemd-run --scope`, or again inside a \
                     cgroup of its own, as `sh -c 'echo $$ > CGROUP/cgroup.procs; exec COMMAND'` \
                     does; what is moved there while it runs keeps the sockets that it has outside",
        });
    }
    let others = cgroup.processes()?.into_iter().filter(|&other| other != pid).count();
    Ok((cgroup, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::FakeTree;

    #[test]
    fn counts_the_others_and_refuses_the_root() {
        let tree = FakeTree::new();
        tree.process(70, "server", "user.slice/a.scope");
        tree.process(71, "helper", "user.slice/a.scope/sub");
        tree.process(72, "stranger", "user.slice/b.scope");
        tree.process(73, "loose", "");
        let root = tree.root();
        let (cgroup, others) = find_cgroup_of(&root, 70).unwrap();
        assert_eq!((cgroup.path().to_str().unwrap(), others), ("/user.slice/a.scope", 1));
        let refused = find_cgroup_of(&root, 73).unwrap_err().to_string();
        assert!(refused.contains("process 73") && refused.contains("chaos-agent run"), "{refused}");
        assert!(matches!(find_cgroup_of(&root, 74), Err(TargetError::NoSuchProcess { pid: 74 })));
    }
}
