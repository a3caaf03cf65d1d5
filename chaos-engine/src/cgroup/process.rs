//! What procfs says of a process.

use std::{
    ffi::OsStr,
    fs, io, iter,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::TargetError;

/// Processes one above the other that are looked at: they may change while they are.
const MOST_ANCESTORS: usize = 64;

/// The directory of a mounted procfs.
#[derive(Debug, Clone)]
pub(super) struct Proc(PathBuf);

impl Proc {
    pub(super) fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The root directory of a process. Needs the right to look at it (CAP_SYS_PTRACE over it).
    pub(super) fn root_directory(&self, pid: i32) -> PathBuf {
        self.0.join(format!("{pid}/root"))
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
        let text = fs::read(&file).map_err(|error| {
            // ESRCH: it ended between the open and the read.
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
            {
                TargetError::NoSuchProcess { pid }
            } else {
                TargetError::io("read", &file, error)
            }
        })?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let path =
            lines.find_map(|line| line.strip_prefix(b"0::")).ok_or(TargetError::NoCgroup2)?;
        // What the kernel adds where the cgroup is gone, as it may be of a process that has ended and was
        // not waited for; a cgroup may have such a name, too.
        if path.ends_with(b" (deleted)") && self.has_ended(pid) {
            return Err(TargetError::NoSuchProcess { pid });
        }
        Ok(PathBuf::from(OsStr::from_bytes(path)))
    }

    /// Whether the process is gone, or has ended and was not waited for.
    fn has_ended(&self, pid: i32) -> bool {
        self.stat(pid).is_none_or(|fields| matches!(fields.as_bytes().first(), Some(b'Z' | b'X')))
    }

    /// The file name of the program that the process runs, also when that has been replaced on disk
    /// since. `Ok(None)` for a process that is gone, or runs none as kernel threads do.
    pub(super) fn program(&self, pid: i32) -> io::Result<Option<String>> {
        let program = match fs::read_link(self.0.join(format!("{pid}/exe"))) {
            Ok(program) => program,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(libc::ESRCH) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        Ok(Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()))
    }

    /// Whether it has root's rights, of the machine or of a user namespace that was made by root.
    pub(super) fn is_roots(&self, pid: i32) -> bool {
        let status = fs::read_to_string(self.0.join(format!("{pid}/status"))).unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        // Real, effective, saved, of the file system.
        uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
    }

    /// What `/proc/PID/stat` says behind the name of the program; begins with the state.
    fn stat(&self, pid: i32) -> Option<String> {
        let stat = fs::read(self.0.join(format!("{pid}/stat"))).ok()?;
        // The name may itself hold blanks and parentheses, and bytes that are no text.
        let stat = String::from_utf8_lossy(&stat);
        Some(stat.rsplit_once(") ")?.1.to_owned())
    }

    /// When the process started, in clock ticks since boot: with the pid, its identity.
    /// `None` when there is no such process.
    pub(super) fn start_time(&self, pid: i32) -> Option<u64> {
        self.stat(pid)?.split(' ').nth(19)?.parse().ok()
    }

    /// The parent of the agent, its parent and so on, and process 1 last.
    pub(super) fn ancestors(&self) -> Vec<i32> {
        let parent = |pid: &i32| {
            let parent = self.stat(*pid)?.split(' ').nth(1)?.parse().ok();
            parent.filter(|parent| *parent > 1)
        };
        let own = nix::unistd::getpid().as_raw();
        let above = iter::successors(Some(own), parent).skip(1).take(MOST_ANCESTORS);
        above.chain([1]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_begin_with_the_parent_and_end_with_the_first_process() {
        let ancestors = Proc::at(Path::new("/proc")).ancestors();
        assert_eq!(ancestors.first(), Some(&nix::unistd::getppid().as_raw().max(1)));
        assert_eq!(ancestors.iter().position(|pid| *pid == 1), Some(ancestors.len() - 1));
    }
}
