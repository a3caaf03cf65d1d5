//! Targets that make whoever looks at them wait: by a file system that they serve themselves (FUSE),
//! by memory that nobody fills (userfaultfd), by a pattern.

use std::{fs::File, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_api::Counts;
use chaos_tests::{
    machine::{Quiet, Shared},
    process::{Place, Process},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{
    Ran, answers_by_seccomp,
    death::{child, collect, wait_until_gone},
    programs::Programs,
    require_seccomp, run, runs, support,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// A call is never held up for longer than a lease; the machine may be busy.
const LONGEST: u64 = 20_000;

/// More than the supervisor has workers.
const MANY: &str = "40";

/// Fewer than that.
const FEW: &str = "6";

const ENOSYS: &str = "38";
const EINVAL: &str = "22";

fn has_fuse() -> Result<(), String> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map(drop)
        .map_err(|error| format!("open /dev/fuse: {error}"))
}

fn has_userfaultfd(programs: &Programs) -> Result<(), String> {
    let uffd = programs.uffd().map_err(|error| error.to_string())?;
    let output = std::process::Command::new(uffd).args(["0", "1"]).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// What became of the opens of `fuse.c`.
struct Opens {
    none: u64,
    io: u64,
}

impl Opens {
    fn read(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [none, io, otherwise, longest] = numbers[..] else { anyhow::bail!("{line}") };
        ensure!(otherwise == 0, "opens ended otherwise: {line}");
        ensure!(longest < LONGEST, "an open took {longest} ms: {line}");
        Ok(Self { none, io })
    }
}

/// How many calls the ledger says were unfit; it adds up.
fn unfit(ran: &Ran, fault: usize) -> Result<u64> {
    let counts = ran.ledger["faults"][fault]["counts"].clone();
    let counts: Counts = serde_json::from_value(counts)?;
    ensure!(counts.imbalance() == 0, "{}", ran.ledger);
    Ok(counts.spared.get("unfit").copied().unwrap_or_default())
}

/// Neither the file system that the target serves nor the fault on it is held up by the other.
#[test]
fn a_file_system_that_the_target_serves_works_while_its_calls_fail() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("FUSE"; has_fuse());
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let mount = directory.path().to_str().context("a path in UTF-8")?;
    for clients in [FEW, MANY] {
        let fault = format!("fail openat with EIO every 2nd under {mount}/file*");
        let ran = Ran::under(&fault, &[], &[&*programs.fuse()?, mount, clients, "2000"])?;
        assert_eq!(ran.code, Some(0), "{:?}", ran.lines);
        let opens = Opens::read(ran.lines.last().context("a line")?)?;
        let (_, injected) = ran.counts(0);
        assert!(opens.none > 0 && opens.io > 0, "{:?}: {}", ran.lines, ran.ledger);
        assert_eq!(injected, opens.io, "{:?}: {}", ran.lines, ran.ledger);
        unfit(&ran, 0)?;
    }
    Ok(())
}

#[test]
fn calls_on_a_file_system_of_the_target_go_on_when_the_agent_is_killed_or_stopped() -> Result<()> {
    require_seccomp!();
    chaos_tests::require!("FUSE"; has_fuse());
    let _quiet = Quiet::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let mount = directory.path().to_str().context("a path in UTF-8")?;
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        for clients in [FEW, MANY] {
            let fault = format!("fail openat with EIO under {mount}/file*");
            let command = [&*programs.fuse()?, mount, clients, "4000"];
            let started = run(&fault, &["-q", "--lease", "500ms"], &command)?;
            let mut run = Process::spawn(started, Place::here())?;
            let supervisor = child(run.pid(), "chaos-supervise")?;
            ensure!(run.line(PATIENCE)? == "begun", "the file system is not there");
            std::thread::sleep(Duration::from_secs(1));
            run.signal(signal)?;
            let line = run.line(PATIENCE)?;
            let opens = Opens::read(&line)?;
            assert!(opens.io > 0 && opens.none > 0, "{signal}: {line}");
            if signal == Signal::SIGSTOP {
                run.signal(Signal::SIGCONT)?;
            }
            run.wait(PATIENCE)?;
            wait_until_gone(supervisor)?;
            collect()?;
        }
    }
    Ok(())
}

#[test]
fn calls_go_on_while_every_look_at_the_targets_memory_hangs() -> Result<()> {
    require_seccomp!();
    let _quiet = Quiet::acquire()?;
    let programs = Programs::new()?;
    chaos_tests::require!("userfaultfd"; has_userfaultfd(&programs));
    let faults = "fail faccessat2 with EIO under /data; fail getppid with EIO";
    let ran = Ran::under(faults, &[], &[&*programs.uffd()?, MANY, "100"])?;
    assert_eq!(ran.code, Some(0), "{:?}", ran.lines);
    let (refused, longest) = ran.lines[0].split_once(' ').context("two numbers")?;
    assert_eq!(refused, MANY, "{:?}", ran.lines);
    assert!(longest.parse::<u64>()? < LONGEST, "{:?}", ran.lines);
    // Calls about which nothing has to be looked up fail as ever.
    assert_eq!(ran.lines[1], format!("{EINVAL} 100"), "{:?}", ran.lines);
    assert_eq!(ran.counts(1), (100, 100), "{}", ran.ledger);
    assert_eq!(ran.counts(0), (140, 0), "{}", ran.ledger);
    assert_eq!(unfit(&ran, 0)?, 140, "{}", ran.ledger);
    Ok(())
}

/// Workers that hang do not keep the listener of a supervisor that is killed: its calls fail instead of
/// waiting for it.
#[test]
fn calls_of_a_killed_supervisor_fail_although_its_workers_hang() -> Result<()> {
    require_seccomp!();
    let _quiet = Quiet::acquire()?;
    let programs = Programs::new()?;
    chaos_tests::require!("userfaultfd"; has_userfaultfd(&programs));
    let faults = "fail faccessat2 with EIO under /data; fail getppid with EIO";
    for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGSTOP)] {
        let options = ["-q", "--lease", "500ms"];
        let started = run(faults, &options, &[&*programs.uffd()?, FEW, "0"])?;
        let mut run = Process::spawn(started, Place::here())?;
        let supervisor = child(run.pid(), "chaos-supervise")?;
        // The workers hang from now on, whatever becomes of the agent.
        ensure!(
            run.line(PATIENCE)?.starts_with(&format!("{FEW} ")),
            "calls are answered otherwise"
        );
        if let Some(signal) = signal {
            run.signal(signal)?;
        }
        nix::sys::signal::kill(supervisor, Signal::SIGKILL)?;
        let line = run.line(PATIENCE)?;
        assert!(line.starts_with(&format!("{ENOSYS} ")), "{line}");
        if signal == Some(Signal::SIGSTOP) {
            run.signal(Signal::SIGCONT)?;
        }
        run.wait(PATIENCE)?;
        wait_until_gone(supervisor)?;
        collect()?;
    }
    Ok(())
}

/// One that a matcher which comes back to where it was would not be done with in years.
#[test]
fn a_pattern_holds_nobody_up() -> Result<()> {
    require_seccomp!();
    let _quiet = Quiet::acquire()?;
    let programs = Programs::new()?;
    let fault = format!("fail openat with EIO under /{}Z", "**a".repeat(12));
    let open = format!("257,-100,s/{},0", "a".repeat(60));
    let ran = Ran::under(&fault, &[], &[&*programs.raw()?, "200", &open])?;
    assert_eq!((runs(&ran.lines[0]), ran.counts(0)), (vec![(2, 200)], (0, 0)), "{:?}", ran.lines);
    let command = [&*programs.raw()?, "20000", &open];
    let mut run = Process::spawn(run(&fault, &["-q"], &command)?, Place::here())?;
    let supervisor = child(run.pid(), "chaos-supervise")?;
    run.signal(Signal::SIGKILL)?;
    assert_eq!(runs(&run.line(PATIENCE)?), [(2, 20_000)]);
    run.wait(PATIENCE)?;
    wait_until_gone(supervisor)?;
    collect()
}
