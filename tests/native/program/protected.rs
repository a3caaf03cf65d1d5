//! What is never a target, or only on purpose, with real processes.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::{self, TestCgroup},
    machine::Shared,
    process::{Place, Process},
};

use crate::daemon::{Daemon, PATIENCE, command, complaint, path};

/// A program that does nothing for long, in a file of this name. A link has the name only for the one who
/// calls it.
fn idle(directory: &Path, name: &str, is_link: bool, place: Place<'_>) -> Result<Process> {
    let program = directory.join(name);
    if is_link {
        symlink("/bin/sleep", &program)?;
    } else {
        fs::copy("/bin/sleep", &program)?;
    }
    let mut command = Command::new(program);
    command.arg("600");
    Process::spawn(command, place)
}

/// What `inject` says of a target, with these options; `None` where it takes it.
fn refusal(options: &[&str]) -> Result<Option<String>> {
    let mut command = command();
    command.arg("inject").args(options).args(["--for", "100ms", "--fault", "shadow drop port 9"]);
    let output = command.output()?;
    match output.status.code() {
        Some(0) => Ok(None),
        Some(2) => Ok(Some(complaint(&output))),
        _ => anyhow::bail!("{options:?}: {}", complaint(&output)),
    }
}

#[test]
fn runtimes_are_known_by_the_file_that_they_run() -> Result<()> {
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    for name in ["containerd-shim-runc-v2", "cri-dockerd", "kubelet"] {
        let cgroup = TestCgroup::new(&shared, "runtime")?;
        let _process = idle(directory.path(), name, false, Place::here().cgroup(&cgroup))?;
        let said = refusal(&["--cgroup", path(&cgroup)?])?.context("it is taken")?;
        ensure!(said.contains(&format!("{name}, which keeps the node alive")), "{said}");
    }
    let cgroup = TestCgroup::new(&shared, "pretender")?;
    let _process = idle(directory.path(), "crio", true, Place::here().cgroup(&cgroup))?;
    assert_eq!(refusal(&["--cgroup", path(&cgroup)?])?, None);
    let exporter = cgroup.child("my-conmon-exporter.service")?;
    assert_eq!(refusal(&["--cgroup", path(&exporter)?])?, None);
    Ok(())
}

#[test]
fn what_moves_in_later_ends_the_fault() -> Result<()> {
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), &[])?;
    let cgroup = TestCgroup::new(&shared, "invaded")?;
    let id = daemon.arm(&cgroup, "drop port 9 for 10m")?;
    let inner = cgroup.child("inner")?;
    let mut talk = daemon.talk()?;
    assert_eq!(talk.ask(br#"{"version":1,"command":{"follow":{}}}"#)?, "following");
    let _kubelet = idle(directory.path(), "kubelet", false, Place::here().cgroup(&inner))?;
    let told = talk.hear()?.context("the agent hung up")?;
    assert_eq!(told["event"]["ended"]["id"], id.as_str(), "{told}");
    let why = told["event"]["ended"]["why"].as_str().context("a reason")?;
    ensure!(why.contains("protected now: kubelet, which keeps the node alive"), "{told}");
    let give_up = Instant::now() + PATIENCE;
    while !daemon.ids()?.is_empty() {
        ensure!(Instant::now() < give_up, "it is armed still");
    }
    Ok(())
}

#[test]
fn a_slice_of_pods_is_taken_only_by_force() -> Result<()> {
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), &[])?;
    let node = TestCgroup::new(&shared, "node")?;
    let pods = node.child("kubepods")?;
    let one = node.child("kubepods/pod1f")?;
    let _two = node.child("kubepods/burstable/pod2f")?;
    let said = refusal(&["--cgroup", path(&pods)?])?.context("it is taken")?;
    ensure!(said.contains("holds 2 pods") && said.contains("--force"), "{said}");
    assert_eq!(refusal(&["--cgroup", path(&pods)?, "--force"])?, None);
    assert_eq!(refusal(&["--cgroup", path(&one)?])?, None);

    let arm = ["arm", "--cgroup", path(&pods)?, "--fault", "drop port 9 for 10m"];
    let refused = daemon.verb(&arm)?;
    ensure!(!refused.status.success() && complaint(&refused).contains("2 pods"), "{refused:?}");
    let armed = daemon.verb(&[&arm[..], &["--force"]].concat())?;
    ensure!(armed.status.success() && complaint(&armed).contains("holds 2 pods"), "{armed:?}");
    Ok(())
}

#[test]
fn a_cgroup_may_be_called_deleted() -> Result<()> {
    let shared = Shared::acquire()?;
    let above = TestCgroup::new(&shared, "odd")?;
    let cgroup = above.child("looks (deleted)")?;
    let directory = tempfile::tempdir()?;
    let process = idle(directory.path(), "idle", false, Place::here().cgroup(&cgroup))?;
    let name = cgroup.path().strip_prefix(cgroup::root()?)?.display().to_string();
    assert_eq!(refusal(&["--pid", &process.pid().to_string()])?, None, "{name}");
    Ok(())
}
