//! A cgroup of its own for the child of `run`, removed afterwards.

use std::{
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    libc,
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat, write},
};

use super::{
    Cgroup, CgroupRoot, TargetError,
    owner::Owner,
    tree::{Step, vanished},
};

const PREFIX: &str = "chaos-agent-run-";
/// A cgroup stays busy for a moment after its last process has ended; a second in all.
const REMOVAL_ATTEMPTS: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

static CREATED: AtomicU32 = AtomicU32::new(0);

/// A cgroup below the agent's own, for one child and all that it starts.
///
/// No controller is enabled in it, so the rule against processes in inner cgroups (cgroups(7),
/// "no internal processes") does not apply.
///
/// Dropping it removes it. What still runs in it then (a daemon that the child left behind) is
/// not killed: it moves up into the agent's own cgroup, where it would have been without us.
#[derive(Debug)]
pub struct TransientCgroup {
    cgroup: Cgroup,
    parent: Cgroup,
    removed: bool,
}

impl TransientCgroup {
    /// Makes the cgroup. Needs the right to write to the agent's own cgroup.
    pub fn create(root: &CgroupRoot) -> Result<Self, TargetError> {
        let parent = root.own()?;
        let name = Owner::this(&root.proc)?.name(PREFIX, CREATED.fetch_add(1, Ordering::Relaxed));
        let path = parent.path().join(&name);
        mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755))
            .map_err(|errno| TargetError::io("create", &path, errno))?;
        let cgroup = parent.below(name.as_ref())?;
        Ok(Self { cgroup, parent, removed: false })
    }

    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Makes `command` start inside the cgroup: its process moves in between fork and exec, so
    /// not one call of the program happens outside.
    pub fn contain(&self, command: &mut Command) -> Result<(), TargetError> {
        let procs = self.open_procs(&self.cgroup)?;
        // SAFETY: between fork and exec only write(2) is called, which is async-signal-safe, on
        // a descriptor and a buffer that exist already; nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                // "0" stands for the writing process.
                let written = libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1);
                if written == 1 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        Ok(())
    }

    /// Removes the cgroup and those that the child made below it; says how many processes were
    /// moved out. To be called when the child has been waited for.
    pub fn remove(mut self) -> Result<usize, TargetError> {
        self.removed = true;
        self.try_remove()
    }

    fn try_remove(&self) -> Result<usize, TargetError> {
        let mut moved = 0;
        let mut attempt = 0;
        loop {
            moved += self.evacuate()?;
            match remove_tree(&self.parent, &self.cgroup)? {
                Removal::Done => return Ok(moved),
                Removal::Busy if attempt < REMOVAL_ATTEMPTS => thread::sleep(REMOVAL_PAUSE),
                Removal::Busy => {
                    return Err(TargetError::io("remove", self.cgroup.path(), Errno::EBUSY));
                }
            }
            attempt += 1;
        }
    }

    fn evacuate(&self) -> Result<usize, TargetError> {
        let pids = self.cgroup.processes()?;
        if pids.is_empty() {
            return Ok(0);
        }
        let procs = self.open_procs(&self.parent)?;
        let mut moved = 0;
        for pid in pids {
            match write(&procs, pid.to_string().as_bytes()) {
                Ok(_) => moved += 1,
                // It ended by itself.
                Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(TargetError::io("move a process into", self.parent.path(), errno));
                }
            }
        }
        Ok(moved)
    }

    fn open_procs(&self, cgroup: &Cgroup) -> Result<OwnedFd, TargetError> {
        openat(cgroup, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(
            |errno| TargetError::io("open for writing", cgroup.path().join("cgroup.procs"), errno),
        )
    }
}

impl Drop for TransientCgroup {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if let Err(error) = self.try_remove() {
            tracing::warn!(%error, "the cgroup of the child was left behind");
        }
    }
}

/// Removes the cgroups of agents that were killed before they could: those named by a process
/// that is gone, and holding no process any more. Returns their paths.
///
/// Agents in another pid namespace are left alone, since from here they always look gone.
pub fn collect_leftovers(root: &CgroupRoot) -> Result<Vec<PathBuf>, TargetError> {
    let this = Owner::this(&root.proc)?;
    let mut candidates = Vec::new();
    root.top().walk(&mut |path| {
        let name = path.file_name().and_then(|name| Owner::of_name(PREFIX, name));
        let Some((owner, _)) = name else { return Step::Descend };
        if this.sees_the_end_of(&owner, &root.proc) {
            candidates.push(path.to_owned());
        }
        Step::Skip
    })?;
    let mut removed = Vec::new();
    for path in candidates {
        let Ok(cgroup) = root.top().below(&path) else { continue };
        if !cgroup.processes()?.is_empty() {
            continue;
        }
        let parent = match path.parent() {
            Some(parent) => root.top().below(parent)?,
            None => continue,
        };
        if remove_tree(&parent, &cgroup)? == Removal::Done {
            removed.push(cgroup.path().to_owned());
        }
    }
    Ok(removed)
}

#[derive(Debug, PartialEq, Eq)]
enum Removal {
    Done,
    Busy,
}

/// Removes `cgroup`, a child of `parent`, and all below it, deepest first.
fn remove_tree(parent: &Cgroup, cgroup: &Cgroup) -> Result<Removal, TargetError> {
    let Some(name) = cgroup.path().file_name() else {
        return Ok(Removal::Busy);
    };
    let mut below = Vec::new();
    match cgroup.walk(&mut |path| {
        below.push(PathBuf::from(name).join(path));
        Step::Descend
    }) {
        Err(TargetError::Io { source, .. })
            if source.raw_os_error().is_some_and(|raw| vanished(Errno::from_raw(raw))) =>
        {
            return Ok(Removal::Done);
        }
        other => other?,
    }
    for path in below.iter().rev().chain([&PathBuf::from(name)]) {
        match unlinkat(parent, path, UnlinkatFlags::RemoveDir) {
            Ok(()) => {}
            Err(errno) if vanished(errno) => {}
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => return Ok(Removal::Busy),
            Err(errno) => {
                return Err(TargetError::io("remove", parent.path().join(path), errno));
            }
        }
    }
    Ok(Removal::Done)
}
