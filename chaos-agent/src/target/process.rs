//! What procfs says of a process.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::TargetError;

/// The directory of a mounted procfs.
#[derive(Debug, Clone)]
pub(super) struct Proc(PathBuf);

impl Proc {
    pub(super) fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The name of the running program, cut to 15 bytes by the kernel; `None` when the process
    /// is gone.
    pub(super) fn comm(&self, pid: i32) -> Option<String> {
        let text = fs::read_to_string(self.0.join(format!("{pid}/comm"))).ok()?;
        Some(text.trim_end_matches('\n').to_owned())
    }

    /// The cgroup v2 path of a process, relative to the reader's cgroup namespace: the line
    /// `0::PATH` of cgroups(7).
    pub(super) fn cgroup(&self, pid: i32) -> Result<PathBuf, TargetError> {
        let file = self.0.join(format!("{pid}/cgroup"));
        let text = fs::read_to_string(&file).map_err(|error| {
            // ESRCH: it ended between the open and the read.
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
            {
                TargetError::NoSuchProcess { pid }
            } else {
                TargetError::io("read", &file, error)
            }
        })?;
        let path =
            text.lines().find_map(|line| line.strip_prefix("0::")).ok_or(TargetError::NoCgroup2)?;
        if path.ends_with(" (deleted)") {
            return Err(TargetError::NoSuchProcess { pid });
        }
        Ok(PathBuf::from(path))
    }

    /// When the process started, in clock ticks since boot: with the pid, its identity.
    /// `None` when there is no such process.
    pub(super) fn start_time(&self, pid: i32) -> Option<u64> {
        let stat = fs::read_to_string(self.0.join(format!("{pid}/stat"))).ok()?;
        // The second field, the program's name, may itself hold blanks and parentheses.
        let (_, after_name) = stat.rsplit_once(") ")?;
        after_name.split(' ').nth(19)?.parse().ok()
    }

    /// Every process there is at the moment.
    pub(super) fn processes(&self) -> Result<Vec<i32>, TargetError> {
        let entries =
            fs::read_dir(&self.0).map_err(|error| TargetError::io("list", &self.0, error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// A file that stands for a namespace of the task, for stat(2) and open(2).
    pub(super) fn task_namespace(&self, pid: i32, tid: i32, kind: &str) -> PathBuf {
        self.0.join(format!("{pid}/task/{tid}/ns/{kind}"))
    }

    /// The threads of a process; empty when it is gone.
    pub(super) fn tasks(&self, pid: i32) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(self.0.join(format!("{pid}/task"))) else {
            return Vec::new();
        };
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}
