//! Finding the mounted hierarchy and the agent's place in it.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open},
    sys::{
        stat::{Mode, fstatat},
        statfs::{CGROUP2_SUPER_MAGIC, fstatfs},
    },
};

use super::{
    TargetError, depth,
    hierarchy::{Cgroup, CgroupRoot, NamespaceView, direct_processes},
    mount::{CgroupMount, cgroup2_mounts},
    process::Proc,
    tree::{self, Step},
};

/// Inode number of the first cgroup namespace (`PROC_CGROUP_INIT_INO`,
/// include/linux/proc_ns.h).
const INITIAL_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

impl CgroupRoot {
    /// Finds the cgroup v2 hierarchy of this machine: at `/sys/fs/cgroup`, on hybrid machines at
    /// `/sys/fs/cgroup/unified`, in a container where the host's is mounted. The mount that
    /// shows most of the hierarchy wins. Where the agent's own mount namespace has none, as that which
    /// ip-netns(8) makes for a command, it is looked for where the agent comes from.
    pub fn discover() -> Result<Self, TargetError> {
        let own = Path::new("/proc/self/mountinfo");
        let mountinfo =
            fs::read_to_string(own).map_err(|error| TargetError::io("read", own, error))?;
        match Self::discover_in(&mountinfo, Path::new("/")) {
            Err(TargetError::NoCgroup2) => Self::discover_by_ancestors(),
            found => found,
        }
    }

    /// In the mount namespaces of the processes that the agent comes from, the nearest first. To mount the
    /// hierarchy once more would set its options for the whole machine (`apply_cgroup_root_flags` in
    /// kernel/cgroup/cgroup.c).
    fn discover_by_ancestors() -> Result<Self, TargetError> {
        let proc = Path::new("/proc");
        let mut failure = TargetError::NoCgroup2;
        for pid in Proc::at(proc).ancestors() {
            let process = proc.join(pid.to_string());
            let found = fs::read_to_string(process.join("mountinfo"))
                .map_err(|error| TargetError::io("read", process.join("mountinfo"), error))
                .and_then(|mountinfo| Self::discover_in(&mountinfo, &process.join("root")));
            match found {
                Ok(root) => return Ok(root),
                Err(TargetError::NoCgroup2) => {}
                Err(error) => failure = TargetError::HiddenHierarchy { reason: error.to_string() },
            }
        }
        Err(failure)
    }

    /// `root` is where the mount points of `mountinfo` can be opened below.
    fn discover_in(mountinfo: &str, root: &Path) -> Result<Self, TargetError> {
        let mut failure = TargetError::NoCgroup2;
        let mut best: Option<Self> = None;
        for mount in cgroup2_mounts(mountinfo) {
            match Self::from_mount(&mount, root) {
                Ok(root)
                    if best.as_ref().is_none_or(|best| root.top.level() < best.top.level()) =>
                {
                    best = Some(root);
                }
                Ok(_) => {}
                Err(error) => failure = error,
            }
        }
        best.ok_or(failure)
    }

    /// A tree of directories that stands for a whole hierarchy, with the procfs that goes with
    /// it: what the layouts of kubelets and runtimes are tested on.
    #[cfg(test)]
    pub(super) fn at(mount_point: &Path, proc: &Path) -> Result<Self, TargetError> {
        Ok(Self {
            top: Cgroup::from_directory(open_directory(mount_point)?, "/".into(), 0)?,
            mount_point: mount_point.to_owned(),
            view: NamespaceView::MountedAt("/".into()),
            proc: Proc::at(proc),
        })
    }

    fn from_mount(mount: &CgroupMount, root: &Path) -> Result<Self, TargetError> {
        let mount_point = &mount.mount_point;
        let below_root = mount_point.strip_prefix("/").unwrap_or(mount_point);
        let directory = open_directory(&root.join(below_root))?;
        let filesystem =
            fstatfs(&directory).map_err(|errno| TargetError::io("statfs", mount_point, errno))?;
        if filesystem.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(TargetError::NoCgroup2);
        }
        let level = if is_hierarchy_root(&directory) {
            0
        } else {
            depth::below_hierarchy_root(&directory)
                .ok_or_else(|| TargetError::PartialHierarchy { mount: mount_point.clone() })?
        };
        let view = view_of(mount, &directory)?;
        Ok(Self {
            top: Cgroup::from_directory(directory, "/".into(), level)?,
            mount_point: mount_point.clone(),
            view,
            proc: Proc::at(Path::new("/proc")),
        })
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, TargetError> {
    open(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| TargetError::io("open", path, errno))
}

/// `cgroup.events` exists in every cgroup but the root (Documentation/admin-guide/cgroup-v2.rst,
/// "Core Interface Files").
fn is_hierarchy_root(directory: impl AsFd) -> bool {
    fstatat(directory, "cgroup.events", AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT)
}

/// A mount that begins at or below the root of the agent's cgroup namespace tells where by
/// itself. One that begins above it (a private namespace and the host's hierarchy) tells only
/// how far above, so the way back down is found by looking for the agent's own process.
fn view_of(mount: &CgroupMount, directory: &OwnedFd) -> Result<NamespaceView, TargetError> {
    match mount.levels_above_namespace() {
        Some(levels) if levels > 0 => {
            let hidden = || TargetError::OwnCgroupHidden { mount: mount.mount_point.clone() };
            let own = own_cgroup_below(directory, &mount.mount_point)?.ok_or_else(hidden)?;
            let namespace: PathBuf = own.iter().take(levels).collect();
            Ok(NamespaceView::NamespaceAt(Path::new("/").join(namespace)))
        }
        Some(_) => Ok(NamespaceView::MountedAt("/".into())),
        None if in_initial_namespace() => Ok(NamespaceView::MountedAt(mount.root.clone())),
        None => Err(TargetError::PartialHierarchy { mount: mount.mount_point.clone() }),
    }
}

fn in_initial_namespace() -> bool {
    fs::metadata("/proc/self/ns/cgroup")
        .is_ok_and(|metadata| metadata.ino() == INITIAL_CGROUP_NAMESPACE)
}

fn own_cgroup_below(directory: &OwnedFd, name: &Path) -> Result<Option<PathBuf>, TargetError> {
    let own = nix::unistd::getpid().as_raw();
    let mut found = None;
    tree::walk(directory, &mut |path, cgroup| {
        if found.is_none() && direct_processes(cgroup).is_ok_and(|pids| pids.contains(&own)) {
            found = Some(path.to_owned());
        }
        if found.is_some() { Step::Skip } else { Step::Descend }
    })
    .map_err(|errno| TargetError::io("search", name, errno))?;
    Ok(found)
}
