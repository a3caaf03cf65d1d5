//! cgroups of a test's own.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::machine::{Claim, is_stale, unique_name};

/// A cgroup v2 directory. Dropping it kills what still runs in its subtree and removes that.
#[derive(Debug)]
pub struct TestCgroup {
    path: PathBuf,
}

impl TestCgroup {
    /// Makes a cgroup directly below the root of the hierarchy, under a name that contains `name`
    /// and is used by nobody else.
    pub fn new(_claim: &impl Claim, name: &str) -> Result<Self> {
        static REMOVE_STALE: Once = Once::new();
        let root = root()?;
        REMOVE_STALE.call_once(|| remove_stale(&root));
        Self::make(root.join(unique_name(name)))
    }

    /// Makes the cgroup `name` below this one; `name` may have several components, such as
    /// `kubepods/burstable/pod1234`, of which the missing ones are made as well. The guard that
    /// is returned removes the last component, this one removes all.
    pub fn child(&self, name: impl AsRef<Path>) -> Result<Self> {
        Self::make(self.path.join(name))
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("make cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id that `bpf_get_current_cgroup_id` gives: the directory's inode number.
    pub fn id(&self) -> Result<u64> {
        let metadata = fs::metadata(&self.path);
        Ok(metadata.with_context(|| format!("stat {}", self.path.display()))?.ino())
    }

    /// The processes in this cgroup itself, without those of its children.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let path = self.path.join("cgroup.procs");
        let list = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        list.lines().map(|pid| pid.parse().with_context(|| format!("process id {pid}"))).collect()
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("cgroup {} stays behind: {error:#}", self.path.display());
        }
    }
}

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on hybrid machines.
pub fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    mounts.lines().find_map(cgroup2_mount_point).context("cgroup v2 is not mounted")
}

/// A line's fifth field is the mount point; the file system type is the first one behind a
/// single hyphen (proc_pid_mountinfo(5)).
fn cgroup2_mount_point(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
    is_cgroup2.then(|| mount.split(' ').nth(4)).flatten().map(PathBuf::from)
}

/// Cgroups of tests that were killed before they could remove them.
fn remove_stale(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_stale)
            && let Err(error) = remove(&entry.path())
        {
            eprintln!("stale cgroup {} stays behind: {error:#}", entry.path().display());
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let give_up = Instant::now() + PATIENCE;
    kill_all(path)?;
    loop {
        match remove_tree(path) {
            Ok(()) => return Ok(()),
            // Killed tasks leave their cgroup only when they have exited.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                if Instant::now() > give_up {
                    bail!("its tasks did not die within {PATIENCE:?}");
                }
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("remove its directories"),
        }
    }
}

/// Kills every task of the subtree, those being forked meanwhile included (`cgroup.kill`, 5.14); before that, those
/// that are there.
fn kill_all(path: &Path) -> Result<()> {
    let opened = fs::File::options().write(true).open(path.join("cgroup.kill"));
    match opened.and_then(|mut file| file.write_all(b"1")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => kill_each(path),
        written => written.context("write its cgroup.kill"),
    }
}

/// The same where there is no such file; nothing where there is no cgroup.
fn kill_each(path: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        kill_each(&entry.path())?;
    }
    let tasks = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in tasks.lines().filter_map(|line| line.parse().ok()) {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).context("kill its tasks"),
        }
    }
    Ok(())
}

/// A cgroup's files go with it, so only directories are removed, the deepest first.
fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_on_hybrid_and_unified_machines() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let unified =
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(cgroup2_mount_point(unified), Some("/sys/fs/cgroup".into()));
        let v1 = "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct";
        assert_eq!(cgroup2_mount_point(v1), None);
    }
}
