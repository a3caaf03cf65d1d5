//! An agent that is killed or stopped, and a supervisor that is killed.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    machine::Quiet,
    process::{Place, Process},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    PATIENCE, answers_by_seccomp, programs::Programs, require_seccomp, run, runs, support, times,
};

const GETPPID: &str = "110";
const SOON: Duration = Duration::from_secs(10);

/// The children of a process, zombies among them: their ids and names.
pub(super) fn children(of: Pid) -> Result<Vec<(Pid, String)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // Gone again, or a process: proc_pid_stat(5).
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((comm, rest)) = stat.rsplit_once(") ") else { continue };
        let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
        if parent == Some(of.as_raw()) {
            let name = comm.split_once('(').map_or(comm, |(_, name)| name);
            children.push((Pid::from_raw(pid), name.to_owned()));
        }
    }
    Ok(children)
}

/// The child of a process with this name.
pub(super) fn child(of: Pid, name: &str) -> Result<Pid> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some((pid, _)) = children(of)?.into_iter().find(|(_, of)| of == name) {
            return Ok(pid);
        }
        ensure!(Instant::now() < give_up, "process {of} has no child {name}");
        sleep(Duration::from_millis(1));
    }
}

pub(super) fn wait_until_gone(process: Pid) -> Result<()> {
    let give_up = Instant::now() + SOON;
    while Path::new(&format!("/proc/{process}")).exists() {
        ensure!(Instant::now() < give_up, "process {process} is still there");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Takes away the cgroup that a killed `run` leaves, as the next agent does.
pub(super) fn collect() -> Result<()> {
    let root = chaos_engine::cgroup::CgroupRoot::discover()?;
    chaos_engine::cgroup::collect_leftovers(&root)?;
    Ok(())
}

/// A victim that calls `getppid` all the time, under `run`.
struct Load {
    run: Process,
    supervisor: Pid,
    victim: Pid,
}

impl Load {
    fn start(programs: &Programs, rounds: &str, options: &[&str]) -> Result<Self> {
        let command = [&*programs.raw()?, rounds, GETPPID];
        let options = [options, &["-q"]].concat();
        let run = Process::spawn(run("fail getppid with EIO", &options, &command)?, Place::here())?;
        let victim = child(run.pid(), "raw")?;
        let supervisor = child(run.pid(), "chaos-supervise")?;
        sleep(Duration::from_millis(200));
        Ok(Self { run, supervisor, victim })
    }

    /// What the victim saw in all.
    fn seen(&self) -> Result<Vec<(i32, u64)>> {
        Ok(runs(&self.run.line(PATIENCE)?))
    }
}

#[test]
fn a_supervisor_ends_with_the_last_process_of_its_target() -> Result<()> {
    require_seccomp!();
    let _quiet = Quiet::acquire()?;
    let script = "sleep 4 >&- 2>&- & echo $!";
    let command = ["sh", "-c", script];
    let mut run = Process::spawn(run("fail getppid with EIO", &["-q"], &command)?, Place::here())?;
    let supervisor = child(run.pid(), "chaos-supervise")?;
    let left = Pid::from_raw(run.line(PATIENCE)?.parse()?);
    assert!(run.wait(SOON)?.success());
    for (process, name) in [(left, "process that was left"), (supervisor, "supervisor")] {
        kill(process, None).with_context(|| format!("the {name} has ended too early"))?;
    }
    wait_until_gone(left)?;
    wait_until_gone(supervisor)
}

/// docs/limitations.md says what then happens.
#[test]
fn without_a_supervisor_the_listed_calls_fail_with_enosys() -> Result<()> {
    require_seccomp!();
    let _quiet = Quiet::acquire()?;
    let programs = Programs::new()?;
    let mut load = Load::start(&programs, "100000", &[])?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(load.supervisor, signal).context("send a signal to the supervisor")?;
    }
    sleep(Duration::from_millis(50));
    kill(load.supervisor, Signal::SIGKILL)?;
    let seen = load.seen()?;
    assert_eq!(seen.iter().map(|(errno, _)| *errno).collect::<Vec<_>>(), [5, 38], "{seen:?}");
    assert!(load.run.wait(SOON)?.success());
    Ok(())
}

/// Hundreds of thousands of calls.
mod repeated {
    use super::*;

    #[test]
    fn calls_go_on_untouched_when_the_agent_is_killed() -> Result<()> {
        require_seccomp!();
        let _quiet = Quiet::acquire()?;
        let programs = Programs::new()?;
        for _ in 0..5 {
            let mut load = Load::start(&programs, "60000", &[])?;
            load.run.signal(Signal::SIGKILL)?;
            load.run.wait(SOON)?;
            let seen = load.seen()?;
            let (failed, ok) = (times(&seen, 5), times(&seen, 0));
            // Nothing but the fault, then nothing but success; no call is lost or answered otherwise.
            assert_eq!(failed + ok, 60000, "{seen:?}");
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(failed > 0 && ok > 0 && seen[0].0 == 5, "{seen:?}");
            wait_until_gone(load.victim)?;
            wait_until_gone(load.supervisor)?;
            collect()?;
        }
        Ok(())
    }

    #[test]
    fn calls_go_on_untouched_when_the_agent_is_stopped() -> Result<()> {
        require_seccomp!();
        let _quiet = Quiet::acquire()?;
        let programs = Programs::new()?;
        let mut load = Load::start(&programs, "400000", &["--lease", "500ms"])?;
        load.run.signal(Signal::SIGSTOP)?;
        let seen = load.seen()?;
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen[0].0 == 5 && seen[1].0 == 0, "{seen:?}");
        load.run.signal(Signal::SIGCONT)?;
        assert!(load.run.wait(SOON)?.success());
        wait_until_gone(load.supervisor)
    }
}
