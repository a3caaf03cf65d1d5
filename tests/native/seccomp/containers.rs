//! Containers that a real runc starts under the profile that is shipped.

use std::{
    fs::{self, File},
    io::IoSlice,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_plan::Backend;
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Shared,
    process::{Place, Process},
};
use nix::{
    sys::{
        signal::Signal,
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
    unistd::{Pid, pipe},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    answers_by_seccomp, death::children, programs::Programs, require_seccomp, runs, support, times,
};
use crate::{
    agent::answers,
    daemon::{Daemon, complaint, path},
};

/// `fsync(-1)`, which fails with EBADF when nobody interferes.
const FSYNC: &str = "74,-1";
const EBADF: i32 = 9;
const EIO: i32 = 5;

/// `access`, to a file that ends the calls when it is there.
const UNTIL_STOPPED: &str = "21,s/stop";
/// Few enough to be made at once.
const FEW: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(120);
const A_WHILE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(5);

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/seccomp/chaos-agent.json");

fn has_runc() -> Result<(), String> {
    Command::new("runc").arg("--version").output().map(drop).map_err(|error| error.to_string())
}

/// What runtimes and agents share, and the pods of the test.
struct Node {
    programs: Programs,
    directory: TempDir,
    machine: Shared,
}

impl Node {
    fn new() -> Result<Self> {
        let machine = Shared::acquire()?;
        Ok(Self { programs: Programs::new()?, directory: TempDir::new()?, machine })
    }

    /// The profile's `listenerPath`.
    fn listener(&self) -> PathBuf {
        self.directory.path().join("listener.sock")
    }

    fn agent(&self, lease: &str) -> Result<Daemon> {
        let listener = format!("--seccomp-socket={}", self.listener().display());
        let options = [&*listener, "--lease", lease];
        Daemon::start(&self.machine, &self.directory.path().join("agent.sock"), &options)
    }

    fn pod(&self, name: &str) -> Result<TestCgroup> {
        TestCgroup::new(&self.machine, name)
    }

    /// A container that calls `fsync` until it is stopped.
    fn start(&self, pod: &TestCgroup, name: &str) -> Result<Container> {
        self.start_with(pod, name, &["0", FSYNC, UNTIL_STOPPED])
    }

    /// What a container sees that calls `fsync` a few times.
    fn see(&self, pod: &TestCgroup, name: &str) -> Result<Vec<(i32, u64)>> {
        self.start_with(pod, name, &[&FEW.to_string(), FSYNC])?.seen()
    }

    fn start_with(&self, pod: &TestCgroup, name: &str, calls: &[&str]) -> Result<Container> {
        let (container, output) = self.try_start(pod, name, calls)?;
        ensure!(output.status.success(), "runc: {}", complaint(&output));
        Ok(container)
    }

    fn try_start(
        &self,
        pod: &TestCgroup,
        name: &str,
        calls: &[&str],
    ) -> Result<(Container, Output)> {
        let mut profile: Value = serde_json::from_str(&fs::read_to_string(PROFILE)?)?;
        profile["listenerPath"] = json!(self.listener());
        Container::start(&self.programs, &profile, pod, name, calls)
    }
}

/// A container of a pod. Dropping it deletes it.
struct Container {
    bundle: TempDir,
    pod: String,
    id: String,
}

impl Container {
    fn start(
        programs: &Programs,
        profile: &Value,
        pod: &TestCgroup,
        name: &str,
        calls: &[&str],
    ) -> Result<(Self, Output)> {
        let bundle = TempDir::new()?;
        let rootfs = bundle.path().join("rootfs");
        fs::create_dir_all(rootfs.join("proc"))?;
        fs::copy(programs.raw()?, rootfs.join("raw"))?;
        let pod = pod.path().file_name().and_then(|pod| pod.to_str()).context("a pod's name")?;
        let container = Self { bundle, pod: pod.to_owned(), id: format!("{pod}-{name}") };
        let command = [&["/raw"], calls].concat();
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({"type": kind}));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": command,
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": format!("/{pod}/{name}"),
                "namespaces": namespaces,
                "seccomp": profile,
            },
        });
        fs::write(container.bundle.path().join("config.json"), config.to_string())?;
        let said = container.bundle.path().join("complaint");
        let mut runc = container.runc(&["run", "--detach", "--bundle"]);
        runc.arg(container.bundle.path()).arg(&container.id);
        // The container inherits them, so they can't be pipes that are read to their end.
        runc.stdin(Stdio::null())
            .stdout(File::create(container.printed())?)
            .stderr(File::create(&said)?);
        let status = wait(runc.spawn().context("start runc")?)?;
        Ok((container, Output { status, stdout: Vec::new(), stderr: fs::read(said)? }))
    }

    fn runc(&self, arguments: &[&str]) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.bundle.path().join("state")).args(arguments);
        runc
    }

    fn printed(&self) -> PathBuf {
        self.bundle.path().join("printed")
    }

    /// Ends its calls: what it saw of them.
    fn stop(&self) -> Result<Vec<(i32, u64)>> {
        File::create(self.bundle.path().join("rootfs/stop"))?;
        self.seen()
    }

    /// What it saw, when it has ended: runs of an errno.
    fn seen(&self) -> Result<Vec<(i32, u64)>> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let printed = fs::read_to_string(self.printed())?;
            let complete = printed.ends_with('\n') && printed.lines().count() >= 2;
            if complete {
                return Ok(runs(printed.lines().next().unwrap_or_default()));
            }
            ensure!(Instant::now() < give_up, "the container hangs; it has printed {printed:?}");
            sleep(PAUSE);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = self.runc(&["delete", "--force", &self.id]).output();
        if !deleted.is_ok_and(|output| output.status.success()) {
            eprintln!("container {} was left behind", self.id);
        }
        // runc makes the pod in each hierarchy of version 1, too, and leaves it there.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(&self.pod));
        }
    }
}

fn wait(mut runc: Child) -> Result<ExitStatus> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = runc.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > give_up {
            runc.kill()?;
            runc.wait()?;
            bail!("runc hangs");
        }
        sleep(PAUSE);
    }
}

/// The errnos that were seen one after the other.
fn errnos(seen: &[(i32, u64)]) -> Vec<i32> {
    seen.iter().map(|(errno, _)| *errno).collect()
}

#[test]
fn a_container_under_the_profile_is_broken_and_healed() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    // The lease is not what is tested, and a busy machine must not make it lapse.
    let daemon = node.agent("30s")?;
    let [pod, other] = [node.pod("pod")?, node.pod("other")?];
    let container = node.start(&pod, "main")?;
    let neighbour = node.start(&other, "main")?;
    sleep(A_WHILE);
    daemon.arm(&pod, "fail fsync with EIO")?;
    sleep(A_WHILE);
    let halted = daemon.json(&["halt"])?;
    sleep(A_WHILE);
    let seen = container.stop()?;
    assert_eq!(errnos(&seen), [EBADF, EIO, EBADF], "{seen:?}");
    let counts = &halted[0]["report"]["faults"][0]["counts"];
    assert_eq!(counts["injected"], times(&seen, EIO), "{halted}");
    assert_eq!(errnos(&neighbour.stop()?), [EBADF], "the neighbour is left alone");
    Ok(())
}

/// Calls that need no capability, and that a runtime's default profile denies.
const DENIED: [(&str, &str); 4] = [
    ("unshare(CLONE_NEWUSER)", "272,268435456"),
    ("keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1)", "250,0,-2,1"),
    ("socket(AF_VSOCK, SOCK_STREAM, 0)", "41,40,1,0"),
    ("clone3(NULL, 0)", "435,0,0"),
];
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

#[test]
fn what_the_runtimes_default_denies_stays_denied() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    let daemon = node.agent("30s")?;
    let pod = node.pod("pod")?;
    let main = node.start(&pod, "main")?;
    // `socket` is among the calls that the agent is told of: what is denied never comes to it.
    let id = daemon.arm(&pod, "fail fsync, socket with EIO")?;
    let see = |name: &str, call: &str| -> Result<i32> {
        let seen = node.start_with(&pod, name, &["1", call])?.seen()?;
        let [(errno, 1)] = seen[..] else { bail!("{call}: {seen:?}") };
        Ok(errno)
    };
    for (number, (what, call)) in DENIED.into_iter().enumerate() {
        let expected = if what.starts_with("clone3") { ENOSYS } else { EPERM };
        assert_eq!(see(&format!("denied-{number}"), call)?, expected, "{what}");
    }
    assert_eq!(see("allowed", "41,2,1,0")?, EIO, "socket(AF_INET, SOCK_STREAM, 0)");
    daemon.json(&["disarm", &id])?;
    assert_eq!(see("healed", "41,2,1,0")?, 0, "socket(AF_INET, SOCK_STREAM, 0)");
    drop(main);
    Ok(())
}

#[test]
fn what_starts_later_in_a_broken_pod_is_broken_from_its_first_call() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    let daemon = node.agent("30s")?;
    let pod = node.pod("pod")?;
    let first = node.start(&pod, "first")?;
    sleep(A_WHILE);
    let id = daemon.arm(&pod, "fail fsync with EIO")?;
    for name in ["second", "third"] {
        assert_eq!(node.see(&pod, name)?, [(EIO, FEW)]);
    }
    daemon.json(&["disarm", &id])?;
    assert_eq!(node.see(&pod, "fourth")?, [(EBADF, FEW)]);
    assert_eq!(errnos(&first.stop()?), [EBADF, EIO, EBADF]);
    Ok(())
}

#[test]
fn calls_of_a_container_go_on_when_the_agent_is_killed_or_stopped() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    let pod = node.pod("pod")?;
    for (signal, lease) in [(Signal::SIGKILL, "30s"), (Signal::SIGSTOP, "2s")] {
        let daemon = node.agent(lease)?;
        let container = node.start(&pod, signal.as_str())?;
        sleep(A_WHILE);
        daemon.arm(&pod, "fail fsync with EIO")?;
        sleep(A_WHILE);
        daemon.process.signal(signal)?;
        // Longer than the lease.
        sleep(8 * A_WHILE);
        let seen = container.stop()?;
        assert_eq!(errnos(&seen), [EBADF, EIO, EBADF], "{signal}: {seen:?}");
    }
    Ok(())
}

#[test]
fn without_an_agent_a_container_does_not_start_and_nothing_hangs() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    let pod = node.pod("pod")?;
    let calls = ["1", FSYNC];
    let (_none, output) = node.try_start(&pod, "never", &calls)?;
    assert!(!output.status.success());
    assert!(complaint(&output).contains("no such file"), "{}", complaint(&output));
    let daemon = node.agent("30s")?;
    daemon.process.signal(Signal::SIGKILL)?;
    drop(daemon);
    let (_none, output) = node.try_start(&pod, "gone", &calls)?;
    assert!(!output.status.success());
    assert!(complaint(&output).contains("connection refused"), "{}", complaint(&output));
    Ok(())
}

#[test]
fn what_the_agent_cannot_reach_is_refused_with_the_remedy() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("runc"; has_runc());
    let node = Node::new()?;
    let [pod, plain] = [node.pod("pod")?, node.pod("plain")?];
    let daemon = node.agent("30s")?;
    let refusal = |daemon: &Daemon, pod: &TestCgroup, fault: &str| -> Result<String> {
        let refused = daemon.verb(&["arm", "--cgroup", path(pod)?, "--fault", fault])?;
        ensure!(!refused.status.success(), "{fault} was armed");
        Ok(complaint(&refused))
    };
    let container = node.start(&pod, "main")?;
    // The profile has neither; many kernels answer `write` without it.
    let by_kernel = answers(&node.machine, Backend::Security).is_ok();
    for call in ["getppid", "write"].into_iter().take(if by_kernel { 1 } else { 2 }) {
        let said = refusal(&daemon, &pod, &format!("fail {call} with EIO"))?;
        let why = format!("the seccomp profile of the target does not tell of `{call}`");
        assert!(said.contains(&why), "{said}");
    }
    let mut sleeping = Command::new("sleep");
    sleeping.arg("600");
    let beside = Process::spawn(sleeping, Place::here().cgroup(&plain))?;
    let said = refusal(&daemon, &plain, "fail fsync with EIO")?;
    assert!(said.contains("the target was not started with the filter"), "{said}");
    assert!(said.contains("or the pod with our seccomp profile"), "{said}");
    // Not into the pod itself: a cgroup with controllers for its children takes no processes.
    let unfiltered = pod.child("unfiltered")?;
    fs::write(unfiltered.path().join("cgroup.procs"), beside.pid().to_string())?;
    let said = refusal(&daemon, &pod, "fail fsync with EIO")?;
    assert!(said.contains(&format!("process {} of the target", beside.pid())), "{said}");
    drop(beside);
    // An agent that comes later can't have the supervisors of another.
    daemon.process.signal(Signal::SIGKILL)?;
    drop(daemon);
    let daemon = node.agent("30s")?;
    let said = refusal(&daemon, &pod, "fail fsync with EIO")?;
    assert!(said.contains("the target was not started with the filter"), "{said}");
    assert_eq!(errnos(&container.stop()?), [EBADF]);
    Ok(())
}

/// Hands a container over that there is not: it has the read end of a pipe for a listener, and ends
/// when the write end, which this returns, is closed.
fn hand_over_nothing(socket: &Path) -> Result<OwnedFd> {
    let (read, write) = pipe()?;
    let runtime = UnixStream::connect(socket)?;
    // Beyond what the kernel numbers processes with.
    let state = json!({"fds": ["seccompFd"], "pid": 4_194_305, "state": {"id": "none"}});
    let (bytes, descriptors) = (state.to_string(), [read.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let parts = [IoSlice::new(bytes.as_bytes())];
    sendmsg::<()>(runtime.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None)?;
    Ok(write)
}

/// Waits until a process has so many children, zombies among them.
fn wait_for_children(of: Pid, number: usize) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let children = children(of)?;
        if children.len() == number {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "not {number} children, but {children:?}");
        sleep(PAUSE);
    }
}

#[test]
fn the_supervisor_of_a_container_that_was_handed_over_in_vain_is_no_zombie() -> Result<()> {
    require_seccomp!();
    let node = Node::new()?;
    let daemon = node.agent("30s")?;
    let agent = daemon.process.pid();
    let containers: Vec<OwnedFd> =
        (0..3).map(|_| hand_over_nothing(&node.listener())).collect::<Result<_>>()?;
    wait_for_children(agent, containers.len())?;
    drop(containers);
    wait_for_children(agent, 0)
}
