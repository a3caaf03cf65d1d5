//! Who made something that outlives a process which is killed, written into its name.

use std::{ffi::OsStr, fs, os::unix::fs::MetadataExt};

use super::{CgroupRoot, TargetError, process::Proc};

/// The start time tells a process from a later one with the same pid, the namespace from one that
/// has the same pid elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pid_namespace: u64,
    pid: i32,
    start_time: u64,
}

impl Owner {
    /// This process, as the `/proc` that goes with `root` shows it.
    pub fn current(root: &CgroupRoot) -> Result<Self, TargetError> {
        Self::this(&root.proc)
    }

    /// Whether this process may take another owner for gone. One in another pid namespace looks
    /// always gone, so it never is.
    pub fn is_gone(&self, root: &CgroupRoot) -> bool {
        Self::this(&root.proc).is_ok_and(|this| this.sees_the_end_of(self, &root.proc))
    }

    /// This process.
    pub(super) fn this(proc: &Proc) -> Result<Self, TargetError> {
        let pid = nix::unistd::getpid().as_raw();
        let namespace = "/proc/self/ns/pid";
        let pid_namespace = fs::metadata(namespace)
            .map_err(|error| TargetError::io("stat", namespace, error))?
            .ino();
        let start_time = proc.start_time(pid).ok_or(TargetError::NoSuchProcess { pid })?;
        Ok(Self { pid_namespace, pid, start_time })
    }

    /// The name of its `number`th thing with this prefix.
    pub fn name(&self, prefix: &str, number: u32) -> String {
        let Self { pid_namespace, pid, start_time } = self;
        format!("{prefix}{pid}-{start_time}-{pid_namespace}-{number}")
    }

    /// Who gave this name, if anyone of us did, and for which number.
    pub fn of_name(prefix: &str, name: &OsStr) -> Option<(Self, u32)> {
        let mut parts = name.to_str()?.strip_prefix(prefix)?.split('-');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            start_time: parts.next()?.parse().ok()?,
            pid_namespace: parts.next()?.parse().ok()?,
        };
        let number = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((owner, number))
    }

    /// [`Owner::is_gone`], for `self`, who looks.
    pub(super) fn sees_the_end_of(&self, owner: &Self, proc: &Proc) -> bool {
        owner.pid_namespace == self.pid_namespace
            && proc.start_time(owner.pid) != Some(owner.start_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "chaos-agent-run-";

    #[test]
    fn the_name_tells_the_owner() {
        let owner = Owner { pid_namespace: 4_026_531_836, pid: 42, start_time: 9_000 };
        let name = owner.name(PREFIX, 3);
        assert_eq!(name, "chaos-agent-run-42-9000-4026531836-3");
        assert_eq!(Owner::of_name(PREFIX, name.as_ref()), Some((owner, 3)));
        for foreign in
            ["chaos-agent-run-42", "chaos-agent-run-a-1-2-3", "other", "chaos-agent-run-1-2-3-4-5"]
        {
            assert_eq!(Owner::of_name(PREFIX, foreign.as_ref()), None, "{foreign}");
        }
    }

    #[test]
    fn a_reused_pid_is_not_the_owner() {
        let proc = Proc::at("/proc".as_ref());
        let this = Owner::this(&proc).unwrap();
        assert!(!this.sees_the_end_of(&this, &proc));
        let earlier = Owner { start_time: this.start_time - 1, ..this };
        assert!(this.sees_the_end_of(&earlier, &proc));
        let elsewhere = Owner { pid_namespace: 1, ..earlier };
        assert!(!this.sees_the_end_of(&elsewhere, &proc));
    }
}
