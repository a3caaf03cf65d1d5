//! Cgroups and the hierarchy they live in.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, fstat, fstatat},
    unistd::write,
};

use super::{
    TargetError,
    process::Proc,
    tree::{self, Step},
};

/// A directory of the cgroup v2 hierarchy, held open: the same cgroup for as long as this value
/// lives, whatever happens to its path.
#[derive(Clone)]
pub struct Cgroup {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    id: u64,
    level: u32,
}

impl Cgroup {
    pub(super) fn from_directory(
        directory: OwnedFd,
        path: PathBuf,
        level: u32,
    ) -> Result<Self, TargetError> {
        let stat = fstat(&directory).map_err(|errno| TargetError::io("stat", &path, errno))?;
        Ok(Self { directory: Arc::new(directory), path, id: stat.st_ino, level })
    }

    /// Below the mount point, beginning with `/`; what `/proc/PID/cgroup` shows to a reader in
    /// the cgroup namespace of the mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's id of the cgroup, as `bpf_get_current_cgroup_id()` returns it: the inode
    /// number of its directory (64 bits since Linux 5.5).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Depth below the hierarchy's root, which has level 0: the level at which
    /// `bpf_get_current_ancestor_cgroup_id()` and `bpf_skb_ancestor_cgroup_id()` return
    /// [`Cgroup::id`] for everything inside.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The root of the hierarchy, or of the part of it that is mounted.
    pub fn is_root(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Whether the cgroup still exists. One system call; meant to be asked often.
    pub fn is_alive(&self) -> bool {
        // The open directory keeps the inode, so fstat would go on succeeding; but a removed
        // cgroup has no files any more.
        fstatat(&self.directory, "cgroup.procs", AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether a process is in the subtree: one read, however large that is. None is in a cgroup that is gone.
    /// <https://docs.kernel.org/admin-guide/cgroup-v2.html#core-interface-files>
    pub fn is_populated(&self) -> bool {
        let events = tree::read_file(&self.directory, "cgroup.events").unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Sends SIGKILL to every process of the subtree, also to those that are being forked.
    ///
    /// # Errors
    /// Before Linux 5.14, which has no `cgroup.kill` (CONFIG_CGROUPS); where the hierarchy is mounted read-only.
    /// <https://docs.kernel.org/admin-guide/cgroup-v2.html#core-interface-files>
    pub fn kill(&self) -> Result<(), TargetError> {
        let failed = |errno| match errno {
            Errno::ENOENT if self.is_alive() => TargetError::NoKill { path: self.path.clone() },
            errno => TargetError::io("write cgroup.kill of", &self.path, errno),
        };
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = openat(&*self.directory, "cgroup.kill", flags, Mode::empty()).map_err(failed)?;
        write(&file, b"1").map(drop).map_err(failed)
    }

    /// Whether this cgroup is `other` or an ancestor of it.
    pub fn contains(&self, other: &Self) -> bool {
        other.path.starts_with(&self.path)
    }

    /// The processes of the subtree, ascending, without duplicates. An error where some live in a
    /// pid namespace that the agent cannot see: half an answer would be taken for a whole one.
    pub fn processes(&self) -> Result<Vec<i32>, TargetError> {
        let failed = |errno| TargetError::io("read the processes of", &self.path, errno);
        let mut pids = direct_processes(&self.directory).map_err(failed)?;
        let mut failure = None;
        tree::walk(&self.directory, &mut |_, directory| {
            match direct_processes(directory) {
                Ok(more) => pids.extend(more),
                Err(errno) => failure = Some(errno),
            }
            Step::Descend
        })
        .map_err(failed)?;
        if let Some(errno) = failure {
            return Err(failed(errno));
        }
        pids.sort_unstable();
        pids.dedup();
        self.all_visible(pids)
    }

    fn all_visible(&self, pids: Vec<i32>) -> Result<Vec<i32>, TargetError> {
        if pids.contains(&HIDDEN) {
            return Err(TargetError::HiddenProcesses { path: self.path.clone() });
        }
        Ok(pids)
    }

    /// The cgroup `relative` below this one.
    pub(super) fn below(&self, relative: &Path) -> Result<Self, TargetError> {
        let path = self.path.join(relative);
        let directory = tree::open_below(&self.directory, relative)
            .map_err(|errno| TargetError::io("open", &path, errno))?;
        let depth = u32::try_from(relative.iter().count()).unwrap_or(u32::MAX);
        Self::from_directory(directory, path, self.level.saturating_add(depth))
    }

    /// Shows `visit` each cgroup below this one by its path relative to this one, parents first.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Path) -> Step) -> Result<(), TargetError> {
        tree::walk(&self.directory, &mut |path, _| visit(path))
            .map_err(|errno| TargetError::io("search", &self.path, errno))
    }
}

/// What `cgroup.procs` shows of a process that has no id in the reader's pid namespace.
const HIDDEN: i32 = 0;

/// The processes in this cgroup itself, [`HIDDEN`] ones too; none when it has vanished.
pub(super) fn direct_processes(directory: impl AsFd) -> Result<Vec<i32>, Errno> {
    let text = match tree::read_file(directory.as_fd(), "cgroup.procs") {
        // Only its threads are listed in a threaded cgroup (cgroups(7)); a thread's id serves
        // as a process's id everywhere in procfs.
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            tree::read_file(directory.as_fd(), "cgroup.threads")
        }
        other => other,
    };
    match text.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(errno) if tree::vanished(errno) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl PartialEq for Cgroup {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Cgroup {}

impl fmt::Debug for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgroup")
            .field("path", &self.path)
            .field("id", &self.id)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// How a path in `/proc/PID/cgroup` relates to the mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamespaceView {
    /// The mount begins at this cgroup of the namespace.
    MountedAt(PathBuf),
    /// The namespace begins at this cgroup of the mount.
    NamespaceAt(PathBuf),
}

impl NamespaceView {
    /// Turns a namespace path (`/a/b`, `/../c`) into one below the mount; `None` when it lies
    /// outside.
    pub(super) fn locate(&self, path: &Path) -> Option<PathBuf> {
        let mut located = match self {
            Self::MountedAt(_) => PathBuf::from("/"),
            Self::NamespaceAt(prefix) => prefix.clone(),
        };
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => {
                    if !located.pop() {
                        return None;
                    }
                }
                Component::Normal(name) => located.push(name),
            }
        }
        match self {
            Self::MountedAt(root) => Some(Path::new("/").join(located.strip_prefix(root).ok()?)),
            Self::NamespaceAt(_) => Some(located),
        }
    }
}

/// The mounted cgroup v2 hierarchy.
#[derive(Debug, Clone)]
pub struct CgroupRoot {
    pub(super) top: Cgroup,
    pub(super) mount_point: PathBuf,
    pub(super) view: NamespaceView,
    pub(super) proc: Proc,
}

impl CgroupRoot {
    /// Where the hierarchy is mounted, in the agent's own mount namespace or in that of a process that it comes from: a name
    /// for people, and what paths may begin with. What is in it is opened below [`CgroupRoot::top`].
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// The cgroup at the mount point. Never a target.
    pub fn top(&self) -> &Cgroup {
        &self.top
    }

    /// The ids of the cgroups from the top of what is mounted down to this one.
    pub fn lineage(&self, cgroup: &Cgroup) -> Result<Vec<u64>, TargetError> {
        let path = cgroup.path().strip_prefix("/").unwrap_or(cgroup.path());
        let above: Vec<&Path> =
            path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        let mut ids = vec![self.top.id()];
        for path in above.into_iter().rev() {
            ids.push(self.top.below(path)?.id());
        }
        ids.push(cgroup.id());
        Ok(ids)
    }

    /// Opens a cgroup by its path: in the file system (`/sys/fs/cgroup/a/b`) or below the root,
    /// as `/proc/PID/cgroup` has it (`/a/b`). Symbolic links and `..` are refused.
    pub fn open(&self, path: &Path) -> Result<Cgroup, TargetError> {
        let relative = self.relative(path)?;
        self.top.below(&relative).map_err(|error| match error {
            TargetError::Io { source, .. } if source.raw_os_error().is_some_and(is_absent) => {
                TargetError::NoSuchCgroup {
                    path: Path::new("/").join(relative),
                    mount: self.mount_point.clone(),
                }
            }
            other => other,
        })
    }

    /// The cgroup that a process is in; possibly the root.
    pub fn of_process(&self, pid: i32) -> Result<Cgroup, TargetError> {
        let shown = self.proc.cgroup(pid)?;
        let path = self.view.locate(&shown).ok_or_else(|| TargetError::OutsideMount {
            pid,
            path: shown,
            mount: self.mount_point.clone(),
        })?;
        self.top.below(path.strip_prefix("/").unwrap_or(&path))
    }

    /// The agent's own cgroup; possibly the root.
    pub fn own(&self) -> Result<Cgroup, TargetError> {
        self.of_process(nix::unistd::getpid().as_raw())
    }

    fn relative(&self, path: &Path) -> Result<PathBuf, TargetError> {
        let bad = |reason| TargetError::BadPath { path: path.to_owned(), reason };
        if path.as_os_str().is_empty() {
            return Err(bad("it is empty"));
        }
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(bad("\"..\" is not allowed in it"));
        }
        let below_mount = match path.strip_prefix(&self.mount_point) {
            Ok(rest) => rest,
            // A path of a version 1 hierarchy, or of another mount.
            Err(_) if path.starts_with("/sys") => {
                return Err(TargetError::NotCgroup2 {
                    path: path.to_owned(),
                    mount: self.mount_point.clone(),
                });
            }
            Err(_) => path.strip_prefix("/").unwrap_or(path),
        };
        Ok(below_mount.components().filter(|part| *part != Component::CurDir).collect())
    }
}

/// The kernel answers `ELOOP` to a symbolic link and `EXDEV` to another mount on the way:
/// there is no cgroup of that name either.
fn is_absent(raw: i32) -> bool {
    matches!(
        Errno::from_raw(raw),
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::ENAMETOOLONG
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::fake::FakeTree;

    fn locate(view: &NamespaceView, path: &str) -> Option<String> {
        Some(view.locate(Path::new(path))?.display().to_string())
    }

    #[test]
    fn paths_of_procfs_below_the_mount() {
        let whole = NamespaceView::MountedAt("/".into());
        assert_eq!(locate(&whole, "/").as_deref(), Some("/"));
        assert_eq!(locate(&whole, "/a/b").as_deref(), Some("/a/b"));
        assert_eq!(locate(&whole, "/../a"), None);

        let part = NamespaceView::MountedAt("/kubepods".into());
        assert_eq!(locate(&part, "/kubepods/pod1").as_deref(), Some("/pod1"));
        assert_eq!(locate(&part, "/kubepods").as_deref(), Some("/"));
        assert_eq!(locate(&part, "/kubepods2"), None);
        assert_eq!(locate(&part, "/system.slice/x"), None);

        let private = NamespaceView::NamespaceAt("/kubepods/pod1/agent".into());
        assert_eq!(locate(&private, "/").as_deref(), Some("/kubepods/pod1/agent"));
        assert_eq!(locate(&private, "/sub").as_deref(), Some("/kubepods/pod1/agent/sub"));
        assert_eq!(locate(&private, "/../../pod2/web").as_deref(), Some("/kubepods/pod2/web"));
        assert_eq!(locate(&private, "/../../../init.scope").as_deref(), Some("/init.scope"));
        assert_eq!(locate(&private, "/../../../../x"), None);
    }

    #[test]
    fn links_out_of_the_tree_are_not_followed() {
        let tree = FakeTree::new();
        tree.cgroup("a/b");
        std::os::unix::fs::symlink("/etc", tree.path().join("a/out")).unwrap();
        std::os::unix::fs::symlink("b", tree.path().join("a/in")).unwrap();
        let root = tree.root();
        for absent in ["/a/out", "/a/in", "/a/c"] {
            let opened = root.open(Path::new(absent));
            assert!(matches!(opened, Err(TargetError::NoSuchCgroup { .. })), "{absent}");
        }
        for bad in ["", "/a/../a/b", "..", "a/b/.."] {
            let opened = root.open(Path::new(bad));
            assert!(matches!(opened, Err(TargetError::BadPath { .. })), "{bad}");
        }
        let cgroup = root.open(Path::new("a/./b/")).unwrap();
        assert_eq!((cgroup.path(), cgroup.level()), (Path::new("/a/b"), 2));
        let above = root.open(Path::new("/a")).unwrap();
        let lineage = [root.top().id(), above.id(), cgroup.id()];
        assert_eq!(root.lineage(&cgroup).unwrap(), lineage);
        assert_eq!(root.open(&tree.path().join("a/b")).unwrap(), cgroup);
    }

    #[test]
    fn processes_of_the_subtree_or_none_where_some_are_hidden() {
        let tree = FakeTree::new();
        tree.process(72, "one", "a");
        tree.process(71, "two", "a/b/c");
        tree.process(73, "other", "d");
        let root = tree.root();
        let cgroup = root.open(Path::new("/a")).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [71, 72]);
        tree.process(HIDDEN, "", "a/b");
        let refused = cgroup.processes().unwrap_err();
        assert!(matches!(refused, TargetError::HiddenProcesses { .. }), "{refused}");
    }
}
