//! Tests share one kernel, which numbers BPF objects and cgroups machine-wide. A test that
//! compares *everything* before and after needs the machine to itself; any other test that arms
//! faults says so, and waits for such a test to finish.
//!
//! The lock is an flock(2) on one file, so it also holds between test binaries and checkouts, and
//! the kernel releases it when its holder dies.

use std::{
    fs::File,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

/// The right to make cgroups, and so to arm faults, for as long as it is held. Declare it before
/// the guards, so that it goes last.
pub trait Claim {}

/// Others may change the machine at the same time.
#[derive(Debug)]
pub struct Shared {
    _lock: File,
}

impl Claim for Shared {}

impl Shared {
    /// Waits until no test holds the machine for itself.
    pub fn acquire() -> Result<Self> {
        let lock = lock_file()?;
        lock.lock_shared().context("lock the machine for sharing")?;
        Ok(Self { _lock: lock })
    }
}

/// No other test changes the machine meanwhile.
#[derive(Debug)]
pub struct Quiet {
    _lock: File,
}

impl Claim for Quiet {}

impl Quiet {
    /// Waits until every other test that changes the machine is through.
    pub fn acquire() -> Result<Self> {
        let lock = lock_file()?;
        lock.lock().context("lock the machine for one test alone")?;
        Ok(Self { _lock: lock })
    }
}

fn lock_file() -> Result<File> {
    let path = std::env::temp_dir().join("chaos-tests.lock");
    File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open the test lock {}", path.display()))
}

const PREFIX: &str = "chaos-test";

/// A name that no other test of the machine uses and that tells who made it.
pub(crate) fn unique_name(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}-{}-{number}-{name}", process::id())
}

/// Whether `name` was made by [`unique_name`] in a process that is gone.
pub(crate) fn is_stale(name: &str) -> bool {
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-'));
    let maker = maker.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_living_are_not_stale() {
        let mine = unique_name("pod");
        assert_ne!(mine, unique_name("pod"));
        assert!(!is_stale(&mine));
    }

    #[test]
    fn names_of_the_dead_are_stale() {
        // Beyond the greatest process id the kernel gives out (PID_MAX_LIMIT, 2^22).
        assert!(is_stale("chaos-test-4194305-0-pod"));
        assert!(!is_stale("chaos-test-pod"));
        assert!(!is_stale("system.slice"));
    }
}
