//! Counts file descriptors: raises the limit of this process, and tells whether a target still finds room.

use std::{fs, io, os::unix::process::CommandExt, process::Command, sync::OnceLock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;

/// Kept for clients, interfaces that a target gets later, and the supervisors of containers.
const RESERVE: u64 = 64;

/// The soft and the hard limit that this process was started with.
static BEFORE: OnceLock<(u64, u64)> = OnceLock::new();

/// How many descriptors this process has and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    pub open: u64,
    /// The soft limit now.
    pub limit: u64,
    /// The soft limit at the start.
    pub limit_before: u64,
}

/// What is to be armed finds too few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "it takes up to {needed} file descriptors, {RESERVE} of them in reserve, and {left} of {limit} \
     are left; end other targets, or start the agent with a higher hard limit (LimitNOFILE=, \
     `ulimit -Hn`)"
)]
pub struct TooFew {
    pub needed: u64,
    pub left: u64,
    pub limit: u64,
}

/// Raises the soft limit to the hard one, as each target takes some descriptors and the usual
/// soft limit of 1024 is for programs that call select(2). What this process starts later has the raised
/// limit, unless [`give_back`] is called for it.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    BEFORE.get_or_init(|| (soft, hard));
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// Makes `command` start with the limit that this process was started with. To be called before
/// anything that makes calls fail between fork and exec.
pub fn give_back(command: &mut Command) {
    let Some(&(soft, hard)) = BEFORE.get() else { return };
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe; nothing is
    // allocated.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?));
    }
}

impl Descriptors {
    /// Those of this process.
    pub fn count() -> io::Result<Self> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit_before = BEFORE.get().map_or(limit, |(soft, _)| *soft);
        // The kernel tells their number from 6.2 on (`proc_fd_getattr`); before, there are some and it says 0.
        let open = match fs::metadata("/proc/self/fd")?.len() {
            // Without the one that the listing itself takes.
            0 => fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as u64,
            told => told,
        };
        Ok(Self { open, limit, limit_before })
    }

    /// Refuses what would not leave the reserve.
    pub fn admit(self, needed: u64) -> Result<(), TooFew> {
        let Self { open, limit, .. } = self;
        let (needed, left) = (needed + RESERVE, limit.saturating_sub(open));
        if needed <= left { Ok(()) } else { Err(TooFew { needed, left, limit }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_reserve_is_admitted() {
        let descriptors = Descriptors { open: 900, limit: 1_024, limit_before: 1_024 };
        assert_eq!(descriptors.admit(60), Ok(()));
        let refused = descriptors.admit(61).unwrap_err();
        assert_eq!(refused, TooFew { needed: 125, left: 124, limit: 1_024 });
        let message = refused.to_string();
        for part in ["up to 125", "124 of 1024 are left", "LimitNOFILE="] {
            assert!(message.contains(part), "{message}");
        }
        assert!(Descriptors { open: 5_000, ..descriptors }.admit(0).is_err());
    }

    #[test]
    fn open_ones_are_counted() {
        let before = Descriptors::count().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = Descriptors::count().unwrap();
        // Other tests open and close some meanwhile.
        assert!(after.open >= before.open.saturating_sub(50) + 100, "{before:?} {after:?}");
        drop(files);
    }
}
