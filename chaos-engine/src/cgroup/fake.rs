//! Directory trees that look like a cgroup hierarchy with its procfs, for tests of layouts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::CgroupRoot;

pub(super) struct FakeTree(TempDir);

impl FakeTree {
    pub(super) fn new() -> Self {
        let tree = Self(TempDir::new().unwrap());
        tree.process(nix::unistd::getpid().as_raw(), "chaos-agent", "");
        tree
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("cgroup")
    }

    /// Makes a cgroup and all above it.
    pub(super) fn cgroup(&self, path: &str) {
        let mut at = self.path();
        Self::directory(&at);
        for part in Path::new(path) {
            at.push(part);
            Self::directory(&at);
        }
    }

    fn directory(at: &Path) {
        if !at.exists() {
            fs::create_dir(at).unwrap();
            fs::write(at.join("cgroup.procs"), "").unwrap();
        }
    }

    /// Makes an empty file beside the cgroups, and the directories above it.
    pub(super) fn file(&self, path: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// Puts a process of root's into a cgroup that runs the program of its name.
    pub(super) fn process(&self, pid: i32, comm: &str, cgroup: &str) {
        self.program(pid, comm, &format!("/usr/bin/{comm}"), 0, cgroup);
    }

    /// Puts a process into a cgroup.
    pub(super) fn program(&self, pid: i32, comm: &str, program: &str, uid: u32, cgroup: &str) {
        self.cgroup(cgroup);
        let procs = self.path().join(cgroup).join("cgroup.procs");
        let before = fs::read_to_string(&procs).unwrap_or_default();
        fs::write(procs, format!("{before}{pid}\n")).unwrap();
        let directory = self.0.path().join(format!("proc/{pid}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(directory.join("cgroup"), format!("1:name=systemd:/x\n0::/{cgroup}\n")).unwrap();
        drop(fs::remove_file(directory.join("exe")));
        std::os::unix::fs::symlink(program, directory.join("exe")).unwrap();
        let status = format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(directory.join("status"), status).unwrap();
        fs::write(directory.join("stat"), format!("{pid} ({comm}) S 1 {pid}")).unwrap();
    }

    pub(super) fn root(&self) -> CgroupRoot {
        CgroupRoot::at(&self.path(), &self.0.path().join("proc")).unwrap()
    }
}

/// A container id of one digit, 64 times.
pub(super) fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}
