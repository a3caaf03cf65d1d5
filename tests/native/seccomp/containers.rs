//! Containers that a real runc starts under the profile that is shipped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chaos_tests::cgroup;
use chaos_tests::machine::Shared;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::programs::Programs;
use super::{answers_by_seccomp, require_seccomp, runs, support, times};
use crate::daemon::{Daemon, complaint};

/// `fsync(-1)`, which fails with EBADF when nobody interferes.
const FSYNC: &str = "74,-1";
const EBADF: i32 = 9;
const EIO: i32 = 5;

const PATIENCE: Duration = Duration::from_secs(120);
const A_WHILE: Duration = Duration::from_millis(300);

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/seccomp/chaos-agent.json");

fn has_runc() -> Result<(), String> {
    Command::new("runc").arg("--version").output().map(drop).map_err(|error| error.to_string())
}

/// A container that calls `fsync` all the time. Dropping it deletes it.
struct Container {
    bundle: TempDir,
    name: String,
}

impl Container {
    fn start(programs: &Programs, listener: &Path, name: &str, rounds: &str) -> Result<Self> {
        let bundle = TempDir::new()?;
        let rootfs = bundle.path().join("rootfs");
        fs::create_dir_all(rootfs.join("proc"))?;
        fs::copy(programs.raw()?, rootfs.join("raw"))?;
        let mut profile: Value = serde_json::from_str(&fs::read_to_string(PROFILE)?)?;
        profile["listenerPath"] = json!(listener);
        let container = Self { bundle, name: format!("chaos-seccomp-{}-{name}", id()) };
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({"type": kind}));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/raw", rounds, FSYNC],
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": format!("/{}", container.name),
                "namespaces": namespaces,
                "seccomp": profile,
            },
        });
        fs::write(container.bundle.path().join("config.json"), config.to_string())?;
        let status = container
            .runc(&["run", "--detach", "--bundle"])
            .arg(container.bundle.path())
            .arg(&container.name)
            .stdin(Stdio::null())
            .stdout(File::create(container.printed())?)
            .stderr(File::create(container.bundle.path().join("complaint"))?)
            .status()
            .context("start runc")?;
        let complaint = fs::read_to_string(container.bundle.path().join("complaint"))?;
        ensure!(status.success(), "runc: {complaint}");
        Ok(container)
    }

    fn runc(&self, arguments: &[&str]) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.bundle.path().join("state")).args(arguments);
        runc
    }

    fn printed(&self) -> PathBuf {
        self.bundle.path().join("printed")
    }

    fn cgroup(&self) -> Result<String> {
        let path = cgroup::root()?.join(&self.name);
        Ok(path.to_str().context("a path in UTF-8")?.to_owned())
    }

    /// What the victim saw, when it has ended.
    fn seen(&self) -> Result<Vec<(i32, u64)>> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let printed = fs::read_to_string(self.printed())?;
            if printed.lines().count() == 2 {
                return Ok(runs(printed.lines().next().unwrap_or_default()));
            }
            ensure!(Instant::now() < give_up, "the container hangs; it has printed {printed:?}");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = self.runc(&["delete", "--force", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("container {} was left behind", self.name);
        }
    }
}

#[test]
fn a_container_under_the_profile_is_broken_and_healed() -> Result<()> {
    const ROUNDS: u64 = 150_000;
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let listener = directory.path().join("listener.sock");
    let option = format!("--seccomp-socket={}", listener.display());
    // The lease is not what is tested, and a busy machine must not make it lapse.
    let options = [&*option, "--lease=30s"];
    let daemon = Daemon::start(&machine, &directory.path().join("agent.sock"), &options)?;
    let rounds = ROUNDS.to_string();

    let container = Container::start(&programs, &listener, "healed", &rounds)?;
    sleep(A_WHILE);
    let cgroup = container.cgroup()?;
    let refused = daemon.verb(&["arm", "--cgroup", &cgroup, "--fault", "fail getppid with EIO"])?;
    assert!(!refused.status.success());
    let why = "the seccomp profile of the target does not tell of `getppid`";
    assert!(complaint(&refused).contains(why), "{}", complaint(&refused));
    let arm = ["arm", "--cgroup", &*cgroup, "--fault", "fail fsync with EIO"];
    daemon.json(&arm)?;
    sleep(A_WHILE);
    let halted = daemon.json(&["halt"])?;
    let seen = container.seen()?;
    let errnos: Vec<i32> = seen.iter().map(|(errno, _)| *errno).collect();
    assert_eq!(errnos, [EBADF, EIO, EBADF], "{seen:?}");
    assert_eq!(seen.iter().map(|(_, times)| times).sum::<u64>(), ROUNDS);
    let counts = &halted[0]["report"]["faults"][0]["counts"];
    assert_eq!(counts["injected"], times(&seen, EIO), "{halted}");

    let container = Container::start(&programs, &listener, "orphan", &rounds)?;
    sleep(A_WHILE);
    let cgroup = container.cgroup()?;
    daemon.json(&["arm", "--cgroup", &cgroup, "--fault", "fail fsync with EIO"])?;
    sleep(A_WHILE);
    daemon.process.signal(Signal::SIGKILL)?;
    let seen = container.seen()?;
    let errnos: Vec<i32> = seen.iter().map(|(errno, _)| *errno).collect();
    assert_eq!(errnos, [EBADF, EIO, EBADF], "{seen:?}");
    Ok(())
}
