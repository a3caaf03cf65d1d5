//! Looks again and again for what must not be in a target.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use super::{
    Cgroup, CgroupRoot, ProtectedReason, TargetError,
    hierarchy::direct_processes,
    placement::is_workload,
    protected::{protecting, service_of_name},
    tree,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(3);

/// What one look may cost: so many cgroups and so many processes, each a few microseconds. A larger
/// target takes several.
const CGROUPS: usize = 64;
const PROCESSES: usize = 512;

/// Cgroups that wait for their turn. Whoever can put the kubelet below more of them has other means.
const MOST_WAITING: usize = 4_096;

/// The looks at one target that is armed.
#[derive(Debug, Default)]
pub struct Patrol {
    last: Option<Instant>,
    round: Round,
}

impl Patrol {
    /// Looks at a part of the target, at most every three seconds, and goes on there the next time. Tells why the
    /// target must not stay one, if something protected has moved in. `own` is the cgroup of this process.
    ///
    /// What is inside containers and pods is their business, as when they were armed.
    pub fn look(
        &mut self,
        root: &CgroupRoot,
        own: Option<&Cgroup>,
        target: &Cgroup,
    ) -> Option<ProtectedReason> {
        if own.is_some_and(|own| target.contains(own)) {
            return Some(ProtectedReason::HoldsAgent);
        }
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        self.last = Some(now);
        if is_workload(target.path()) {
            return None;
        }
        // A target that goes away meanwhile is noticed elsewhere.
        self.round.go_on(root, target, CGROUPS, PROCESSES).ok().flatten()
    }
}

/// One way through the cgroups of a target and their processes, parents first.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Relative to the target.
    cgroups: VecDeque<PathBuf>,
    processes: VecDeque<i32>,
}

impl Round {
    /// Looks at everything.
    pub fn finish(
        &mut self,
        root: &CgroupRoot,
        target: &Cgroup,
    ) -> Result<Option<ProtectedReason>, TargetError> {
        self.go_on(root, target, usize::MAX, usize::MAX)
    }

    /// Looks at so much at most; begins again when the last round is over, and ends at the end of one.
    fn go_on(
        &mut self,
        root: &CgroupRoot,
        target: &Cgroup,
        mut cgroups: usize,
        mut processes: usize,
    ) -> Result<Option<ProtectedReason>, TargetError> {
        if self.cgroups.is_empty() && self.processes.is_empty() {
            self.cgroups.push_back(PathBuf::new());
        }
        let is_bounded = cgroups < usize::MAX;
        loop {
            while processes > 0
                && let Some(pid) = self.processes.pop_front()
            {
                processes -= 1;
                if let Some(reason) = protecting(root, pid) {
                    return Ok(Some(reason));
                }
            }
            if cgroups == 0 || processes == 0 {
                return Ok(None);
            }
            let Some(path) = self.cgroups.pop_front() else { return Ok(None) };
            cgroups -= 1;
            let failed = |errno| TargetError::io("search", target.path().join(&path), errno);
            let directory = match tree::open_below(target, &path) {
                Ok(directory) => directory,
                Err(errno) if tree::vanished(errno) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let pids = direct_processes(&directory).map_err(failed)?;
            if pids.contains(&0) && !is_bounded {
                return Err(TargetError::HiddenProcesses { path: target.path().join(&path) });
            }
            self.processes.extend(pids);
            let mut found = None;
            let listed = tree::children(&directory, &mut |name: &OsStr| {
                let child = path.join(name);
                if is_workload(&target.path().join(&child)) {
                    return;
                }
                found = found.take().or_else(|| service_of_name(name));
                if !is_bounded || self.cgroups.len() < MOST_WAITING {
                    self.cgroups.push_back(child);
                }
            });
            match listed {
                Err(errno) if !tree::vanished(errno) && errno != Errno::ENOTDIR => {
                    return Err(failed(errno));
                }
                _ => {}
            }
            if let Some(name) = found {
                return Ok(Some(ProtectedReason::HoldsNodeService(name)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cgroup::fake::{FakeTree, id};

    /// A patrol whose last look was long ago.
    fn look(patrol: &mut Patrol, root: &CgroupRoot, target: &Cgroup) -> Option<ProtectedReason> {
        patrol.last = None;
        patrol.look(root, root.own().ok().as_ref(), target)
    }

    #[test]
    fn what_moves_in_is_found_within_a_bounded_number_of_looks() {
        let tree = FakeTree::new();
        for number in 0..200 {
            tree.process(1_000 + number, "server", &format!("a/{number}"));
        }
        let pids: String = (2_000..4_000).map(|pid| format!("{pid}\n")).collect();
        std::fs::write(tree.path().join("a/cgroup.procs"), pids).unwrap();
        let root = tree.root();
        let target = root.open(Path::new("/a")).unwrap();
        let mut patrol = Patrol::default();
        for _ in 0..20 {
            assert_eq!(look(&mut patrol, &root, &target), None);
        }
        tree.process(9, "kubelet", "a/150");
        // A round of 2,200 processes and 201 cgroups, and the rest of the one before.
        let found = (1..=20).find_map(|turn| Some((turn, look(&mut patrol, &root, &target)?)));
        let (turns, reason) = found.unwrap();
        assert_eq!(reason, ProtectedReason::HoldsNodeService("kubelet".to_owned()));
        assert!((1..=18).contains(&turns), "{turns}");
    }

    #[test]
    fn the_agent_and_a_service_are_noticed_and_containers_left_alone() {
        let tree = FakeTree::new();
        let container = format!("a/docker-{}.scope", id('a'));
        tree.process(9, "kubelet", &container);
        let root = tree.root();
        let (target, inner) = (
            root.open(Path::new("/a")).unwrap(),
            root.open(Path::new("/").join(&container).as_path()).unwrap(),
        );
        let mut patrol = Patrol::default();
        assert_eq!(look(&mut patrol, &root, &target), None);
        assert_eq!(look(&mut patrol, &root, &inner), None);
        tree.cgroup("a/kubelet.service");
        let service = ProtectedReason::HoldsNodeService("kubelet.service".to_owned());
        assert_eq!(look(&mut patrol, &root, &target), Some(service));
        tree.process(nix::unistd::getpid().as_raw(), "chaos-agent", &container);
        assert_eq!(look(&mut patrol, &root, &inner), Some(ProtectedReason::HoldsAgent));
    }

    #[test]
    fn looks_are_seconds_apart() {
        let tree = FakeTree::new();
        tree.process(8, "server", "a");
        let root = tree.root();
        let target = root.open(Path::new("/a")).unwrap();
        let mut patrol = Patrol::default();
        assert_eq!(patrol.look(&root, None, &target), None);
        let first = patrol.last;
        patrol.look(&root, None, &target);
        assert_eq!(patrol.last, first);
    }
}
