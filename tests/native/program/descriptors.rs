//! File descriptors: how many targets find room, and what happens when there are none left.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::{net::UnixStream, process::CommandExt},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated},
    machine::Shared,
    process::Place,
    victim::Victim,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::daemon::{Daemon, PATIENCE, command, complaint, path};

const FAULT: &str = "fail connect with ENETDOWN to 127.0.0.0/8 for 10m";

/// Starts `command` with these limits; `hard` is ours where it is `None`.
fn limit(command: &mut Command, soft: u64, hard: Option<u64>) {
    // SAFETY: between fork and exec only getrlimit(2) and setrlimit(2) are called; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let hard = match hard {
                Some(hard) => hard,
                None => getrlimit(Resource::RLIMIT_NOFILE)?.1,
            };
            Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?)
        })
    };
}

fn open_files(daemon: &Daemon) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", daemon.process.pid()))?.count())
}

fn refused_connects(cgroup: &TestCgroup) -> Result<u64> {
    let to = SocketAddr::from(([127, 0, 0, 1], 1));
    let connect = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    let seen = Victim::run(Call::new(connect, 10), Place::here().cgroup(cgroup))?;
    Ok(seen.total().failed_with("ENETDOWN"))
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn as_many_targets_as_are_allowed_fit_where_1024_files_are_usual() -> Result<()> {
    const TARGETS: usize = 256;
    let shared = Shared::acquire()?;
    if getrlimit(Resource::RLIMIT_NOFILE)?.1 < 8_192 {
        eprintln!("skipped: the hard limit of file descriptors is below 8192");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("agent.sock");
    let daemon = Daemon::start_after(&shared, &socket, &[], |command| limit(command, 1024, None))?;
    let cgroups: Vec<TestCgroup> =
        (0..TARGETS).map(|_| TestCgroup::new(&shared, "many")).collect::<Result<_>>()?;
    let mut talk = daemon.talk()?;
    for cgroup in &cgroups {
        let request = serde_json::json!({
            "version": 1,
            "command": {"arm": {"target": {"cgroup": path(cgroup)?}, "faults": FAULT}},
        });
        let answer = talk.ask(request.to_string().as_bytes())?;
        ensure!(answer["armed"]["id"].is_string(), "{answer}");
    }
    assert_eq!(daemon.ids()?.len(), TARGETS);
    assert_eq!(refused_connects(&cgroups[TARGETS - 1])?, 10);
    Ok(())
}

#[test]
fn a_target_that_finds_too_few_is_refused_and_the_others_go_on() -> Result<()> {
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("agent.sock");
    let daemon =
        Daemon::start_after(&shared, &socket, &[], |command| limit(command, 200, Some(200)))?;
    let cgroups: Vec<TestCgroup> =
        (0..60).map(|_| TestCgroup::new(&shared, "few")).collect::<Result<_>>()?;
    let first = daemon.arm(&cgroups[0], FAULT)?;
    // The programs and maps of all targets are there now.
    let before = open_files(&daemon)?;
    let second = daemon.arm(&cgroups[1], FAULT)?;
    let taken = open_files(&daemon)? - before;
    ensure!((2..=10).contains(&taken), "{taken} descriptors for a target");
    ensure!(daemon.verb(&["disarm", &second])?.status.success());
    let refused = cgroups[1..].iter().find_map(|cgroup| {
        let output =
            daemon.verb(&["arm", "--cgroup", path(cgroup).ok()?, "--fault", FAULT]).ok()?;
        (!output.status.success()).then(|| complaint(&output))
    });
    let refused = refused.context("all fit")?;
    for part in ["file descriptors", "of 200 are left", "LimitNOFILE="] {
        ensure!(refused.contains(part), "{refused}");
    }
    assert_eq!(refused_connects(&cgroups[0])?, 10);
    daemon.json(&["disarm", &first])?;
    daemon.arm(&cgroups[0], FAULT)?;
    Ok(())
}

#[test]
fn without_a_descriptor_the_agent_waits_and_then_goes_on() -> Result<()> {
    const UNSERVED: &str = "no connection could be accepted";
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let (socket, runtime) =
        (directory.path().join("agent.sock"), directory.path().join("runtime.sock"));
    let log = directory.path().join("log");
    let runtime_option = runtime.to_str().context("a path in UTF-8")?;
    let errors = File::create(&log)?;
    let daemon =
        Daemon::start_after(&shared, &socket, &["--seccomp-socket", runtime_option], |command| {
            limit(command, 200, Some(200));
            command.stderr(errors);
        })?;
    let cgroup = TestCgroup::new(&shared, "waits")?;
    let text = || Ok::<_, anyhow::Error>(fs::read_to_string(&log)?);
    let mut silent = Vec::new();
    until("the agent has no descriptor left", || {
        silent.push(UnixStream::connect(&runtime)?);
        Ok(silent.len() > 20 && text()?.contains(UNSERVED) || silent.len() > 240)
    })?;
    ensure!(text()?.contains(UNSERVED), "{} connections were accepted", silent.len());
    drop(silent);
    until("the agent serves again", || Ok(daemon.verb(&["list"])?.status.success()))?;
    daemon.arm(&cgroup, FAULT)?;
    assert_eq!(refused_connects(&cgroup)?, 10);
    let text = text()?;
    let said = text.lines().filter(|line| line.contains(UNSERVED)).count();
    // Once a minute.
    ensure!(said <= 3, "{text}");
    ensure!(text.len() < 40_000, "{} bytes of log", text.len());
    Ok(())
}

#[test]
fn the_child_of_run_has_the_limit_that_run_was_started_with() -> Result<()> {
    let _shared = Shared::acquire()?;
    let mut command = command();
    command.args(["run", "-q", "--fault", "drop port 9", "--", "sh", "-c", "ulimit -Sn"]);
    limit(&mut command, 517, None);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", complaint(&output));
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "517");
    Ok(())
}
