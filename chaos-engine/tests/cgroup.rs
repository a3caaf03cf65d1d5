//! Targets in the real cgroup hierarchy. Every cgroup used here is made and removed here.
//!
//! Needs root; without it each test says so and passes over.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use chaos_api::TargetSpec;
use chaos_engine::cgroup::{
    CgroupRoot, NetNs, Target, TargetError, TransientCgroup, collect_leftovers, resolve,
};

/// Names the test that a re-executed copy of this program is to run, in namespaces of its own.
const EXPECTED_OWN_PATH: &str = "CHAOS_TEST_OWN_CGROUP";
const EXPECTED_OWN_LEVEL: &str = "CHAOS_TEST_OWN_LEVEL";

fn root() -> Option<CgroupRoot> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to make cgroups");
        return None;
    }
    Some(CgroupRoot::discover().unwrap())
}

/// A process that does nothing until it is told to end by closing its input.
struct Sleeper(Child);

impl Sleeper {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn idle() -> Command {
        Self::shell("echo ready; read line")
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn contained(cgroup: &TransientCgroup, mut command: Command) -> Sleeper {
    cgroup.contain(&mut command).unwrap();
    Sleeper::start(command)
}

#[test]
fn a_child_starts_inside_and_the_cgroup_goes_away() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let path = root.mount_point().join(transient.cgroup().path().strip_prefix("/").unwrap());
    let child = contained(&transient, Sleeper::idle());

    let cgroup = root.of_process(child.pid()).unwrap();
    assert_eq!(&cgroup, transient.cgroup());
    assert_eq!(cgroup.level(), root.own().unwrap().level() + 1);
    assert_eq!(cgroup.processes().unwrap(), [child.pid()]);
    assert!(!cgroup.is_root() && cgroup.is_alive() && path.is_dir());

    // The child makes cgroups of its own; they are part of the target, and go too. One is
    // threaded: it does not tell its processes, only its threads.
    fs::create_dir_all(path.join("one/two")).unwrap();
    fs::write(path.join("one/two/cgroup.type"), "threaded").unwrap();
    let inner = Sleeper::start(Sleeper::idle());
    fs::write(path.join("one/two/cgroup.procs"), inner.pid().to_string()).unwrap();
    assert!(fs::read_to_string(path.join("one/two/cgroup.procs")).is_err());
    let mut expected = [child.pid(), inner.pid()];
    expected.sort_unstable();
    assert_eq!(cgroup.processes().unwrap(), expected);

    let pid = child.pid();
    let target = resolve(&TargetSpec::Pid(pid), &root).unwrap();
    assert_eq!(target.notes, [format!("1 other process shares the cgroup of process {pid}")]);
    child.end();
    inner.end();
    assert_eq!(transient.remove().unwrap(), 0);
    assert!(!cgroup.is_alive() && !target.is_alive() && !path.exists());
    assert!(cgroup.processes().unwrap().is_empty());
}

#[test]
fn what_the_child_left_running_moves_out_unharmed() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let straggler = contained(&transient, Sleeper::idle());
    let cgroup = transient.cgroup().clone();
    assert_eq!(transient.remove().unwrap(), 1);
    assert!(!cgroup.is_alive());
    assert_eq!(root.of_process(straggler.pid()).unwrap(), root.own().unwrap());
    straggler.end();
}

#[test]
fn dropping_removes_too() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let cgroup = transient.cgroup().clone();
    drop(transient);
    assert!(!cgroup.is_alive());
}

#[test]
fn paths_in_both_spellings_and_those_refused() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let below = transient.cgroup().path();
    let absolute = root.mount_point().join(below.strip_prefix("/").unwrap());
    assert_eq!(&root.open(below).unwrap(), transient.cgroup());
    assert_eq!(&root.open(&absolute).unwrap(), transient.cgroup());
    let target = resolve(&TargetSpec::Cgroup(absolute.clone()), &root).unwrap();
    assert_eq!(target.cgroup.id(), transient.cgroup().id());

    let open = |path: &Path| root.open(path).unwrap_err();
    assert!(matches!(open(&absolute.join("..")), TargetError::BadPath { .. }));
    assert!(matches!(open(&absolute.join("none")), TargetError::NoSuchCgroup { .. }));
    // A file, not a cgroup.
    assert!(matches!(open(&absolute.join("cgroup.procs")), TargetError::NoSuchCgroup { .. }));
    assert!(matches!(open(Path::new("/sys/kernel")), TargetError::NotCgroup2 { .. }));
    let outside = tempfile::tempdir().unwrap();
    let link = outside.path().join("link");
    std::os::unix::fs::symlink(&absolute, &link).unwrap();
    assert!(matches!(open(&link), TargetError::NoSuchCgroup { .. }));
    let whole = resolve(&TargetSpec::Cgroup(root.mount_point().to_owned()), &root);
    assert!(matches!(whole, Err(TargetError::RootCgroup { .. })));
}

/// A cgroup of the same path made anew is another cgroup.
#[test]
fn a_cgroup_made_anew_is_not_the_old_one() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let path = transient.cgroup().path().join("again");
    let directory = root.mount_point().join(path.strip_prefix("/").unwrap());
    fs::create_dir(&directory).unwrap();
    let old = root.open(&path).unwrap();
    fs::remove_dir(&directory).unwrap();
    assert!(!old.is_alive());
    fs::create_dir(&directory).unwrap();
    let new = root.open(&path).unwrap();
    assert!(new.is_alive() && !old.is_alive());
    assert_ne!(old, new);
    fs::remove_dir(&directory).unwrap();
}

#[test]
fn leftovers_of_the_dead_are_collected_and_no_others() {
    let Some(root) = root() else { return };
    let living = TransientCgroup::create(&root).unwrap();
    let make = |name: &str| {
        let own = root.own().unwrap();
        let path = root.mount_point().join(own.path().strip_prefix("/").unwrap()).join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let namespace =
        std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/self/ns/pid").unwrap());
    // This process's pid, but started at another time; and an owner from elsewhere.
    let pid = std::process::id();
    let dead = make(&format!("chaos-agent-run-{pid}-1-{namespace}-0"));
    let busy = make(&format!("chaos-agent-run-{pid}-2-{namespace}-0"));
    let elsewhere = make(&format!("chaos-agent-run-{pid}-1-{}-0", namespace + 1));
    fs::create_dir(dead.join("below")).unwrap();
    let inside = Sleeper::start(Sleeper::idle());
    fs::write(busy.join("cgroup.procs"), inside.pid().to_string()).unwrap();

    let removed = collect_leftovers(&root).unwrap();
    let kept = (living.cgroup().is_alive(), busy.is_dir(), elsewhere.is_dir(), dead.exists());
    inside.end();
    fs::remove_dir(&elsewhere).unwrap();
    let emptied = collect_leftovers(&root).unwrap();
    assert!(removed.iter().any(|path| dead.ends_with(path.strip_prefix("/").unwrap())));
    assert_eq!(kept, (true, true, true, false));
    assert!(emptied.iter().any(|path| busy.ends_with(path.strip_prefix("/").unwrap())));
}

#[test]
fn network_namespaces_of_a_target() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let target = Target::child(&root, "test", &transient).unwrap();
    assert_eq!(target.network_namespaces(&root).unwrap(), []);

    let outside = contained(&transient, Sleeper::idle());
    let own = NetNs::own().unwrap();
    assert_eq!(target.network_namespaces(&root).unwrap(), [own]);
    assert!(target.shares_host_network(&root).unwrap());
    outside.end();

    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "sh",
        "-c",
        "ip link add chaos0 type veth peer name chaos1; echo ready; read line",
    ]);
    let inside = contained(&transient, command);
    let namespaces = target.network_namespaces(&root).unwrap();
    let [namespace] = namespaces.as_slice() else { panic!("{namespaces:?}") };
    assert_ne!(*namespace, NetNs::own().unwrap());
    assert!(!target.shares_host_network(&root).unwrap());
    let interfaces = namespace.interfaces().unwrap();
    let described: Vec<_> =
        interfaces.iter().map(|one| (one.name.as_str(), one.is_loopback, one.is_up)).collect();
    assert!(described.contains(&("lo", true, false)), "{described:?}");
    assert!(described.contains(&("chaos0", false, false)), "{described:?}");

    // The caller's thread stays where it was, and the namespace outlives its processes.
    inside.end();
    let socket = namespace
        .enter_in_thread(|| std::net::UdpSocket::bind("127.0.0.1:0"))
        .unwrap()
        .map(|socket| socket.local_addr());
    assert!(socket.is_ok(), "{socket:?}");
    assert!(NetNs::own().unwrap() != *namespace);
    assert!(target.network_namespaces(&root).unwrap().is_empty());
}

/// The agent in a container that has the host's hierarchy but a cgroup namespace of its own:
/// paths in procfs are then relative to a place that only its own process betrays.
#[test]
fn private_cgroup_namespace() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--cgroup", "--"]);
    let own = transient.cgroup();
    run_inside(&transient, command, own.path(), own.level());
}

/// A node that is a container: what is mounted is not the whole hierarchy, yet levels count from
/// its root.
#[test]
fn part_of_the_hierarchy() {
    let Some(root) = root() else { return };
    let transient = TransientCgroup::create(&root).unwrap();
    let directory = root.mount_point().join(transient.cgroup().path().strip_prefix("/").unwrap());
    fs::create_dir(directory.join("inner")).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--cgroup",
        "--mount",
        "sh",
        "-c",
        r#"mount --bind "$1" "$2" && echo 0 > "$2/inner/cgroup.procs" && shift 2 && exec "$@""#,
        "sh",
    ]);
    command.arg(&directory).arg(root.mount_point());
    run_inside(&transient, command, Path::new("/inner"), transient.cgroup().level() + 1);
}

fn run_inside(transient: &TransientCgroup, mut command: Command, path: &Path, level: u32) {
    transient.contain(&mut command).unwrap();
    command
        .arg(env::current_exe().unwrap())
        .args(["--exact", "seen_from_inside", "--ignored", "--nocapture"])
        .env(EXPECTED_OWN_PATH, path)
        .env(EXPECTED_OWN_LEVEL, level.to_string());
    let output = command.output().unwrap();
    std::io::stderr().write_all(&output.stdout).unwrap();
    std::io::stderr().write_all(&output.stderr).unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "run by other tests, in namespaces that they make"]
fn seen_from_inside() {
    let expected = env::var_os(EXPECTED_OWN_PATH).expect("only other tests run this one");
    let level: u32 = env::var(EXPECTED_OWN_LEVEL).unwrap().parse().unwrap();
    let root = CgroupRoot::discover().unwrap();
    let own = root.own().unwrap();
    assert_eq!(own.path(), Path::new(&expected));
    assert_eq!(own.level(), level);
    let pid = i32::try_from(std::process::id()).unwrap();
    assert!(own.processes().unwrap().contains(&pid));
    // The test is the agent here, so its cgroup is not a target.
    let refused = resolve(&TargetSpec::Pid(pid), &root);
    assert!(
        matches!(refused, Err(TargetError::Protected { .. } | TargetError::RootCgroup { .. })),
        "{refused:?}"
    );
}
