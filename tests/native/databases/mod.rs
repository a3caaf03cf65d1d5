//! Databases from Debian on a disk that fails, or is full, and is well again.

pub mod postgres;
mod redis;
mod sqlite;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chaos_plan::Support;
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Shared,
    process::{Place, Process},
};
use tempfile::TempDir;

use crate::{daemon::Daemon, runtime};

/// For anything that a database does.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What databases do to files, as `fail write` and `fail fsync` mean it.
const CALLS: [&str; 7] =
    ["write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync"];

/// Whether supervisors can answer here, for kernels that do not answer calls on files by their path.
fn support() -> Result<(), String> {
    match chaos_engine::seccomp::support() {
        Support::Works => Ok(()),
        Support::Missing { reason, .. } => Err(reason),
    }
}

/// Whether a program can be started.
fn is_installed(program: impl AsRef<Path>) -> Result<(), String> {
    let program = program.as_ref();
    let output = Command::new(program).arg("--version").output();
    output.map(drop).map_err(|error| format!("{}: {error}", program.display()))
}

/// A disk, that is a directory, an agent, and a cgroup for a database.
struct Machine {
    daemon: Daemon,
    cgroup: TestCgroup,
    directory: TempDir,
    runtimes: PathBuf,
    _claim: Shared,
}

impl Machine {
    fn new(name: &str) -> Result<Self> {
        let claim = Shared::acquire()?;
        let directory = TempDir::new()?;
        // Databases run as other users.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let runtimes = directory.path().join("runtimes.sock");
        let option = format!("--seccomp-socket={}", runtimes.display());
        // A lease that lapses on a busy machine would heal the disk.
        let options = [&*option, "--lease=60s"];
        let daemon = Daemon::start(&claim, &directory.path().join("agent.sock"), &options)?;
        let cgroup = TestCgroup::new(&claim, name)?;
        Ok(Self { daemon, cgroup, directory, runtimes, _claim: claim })
    }

    /// Makes a directory for data.
    fn data(&self) -> Result<PathBuf> {
        let data = self.directory.path().join("data");
        fs::create_dir(&data)?;
        Ok(data)
    }

    fn start(&self, command: Command) -> Result<Process> {
        runtime::start(command, Place::here().cgroup(&self.cgroup), &CALLS, &self.runtimes)
    }

    /// Arms a fault; it is in force when this returns.
    fn breaks(&self, fault: &str) -> Result<String> {
        let id = self.daemon.arm(&self.cgroup, fault)?;
        println!("armed: {fault}");
        Ok(id)
    }

    /// Ends a fault, which must have done something.
    fn heals(&self, id: &str) -> Result<()> {
        let ended = self.daemon.json(&["disarm", id])?;
        let counts = &ended["report"]["faults"][0]["counts"];
        println!("disarmed after {} injections", counts["injected"]);
        match counts["injected"].as_u64() {
            Some(1..) => Ok(()),
            _ => bail!("nothing was injected: {ended}"),
        }
    }
}

/// Asks again and again until the answer is as wanted.
fn until<T: std::fmt::Debug>(
    mut ask: impl FnMut() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        match answer {
            Ok(answer) if wanted(&answer) => return Ok(answer),
            answer if Instant::now() > give_up => {
                return answer
                    .and_then(|answer| bail!("it still says {answer:?}"))
                    .context("waited in vain");
            }
            _ => sleep(PAUSE),
        }
    }
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
