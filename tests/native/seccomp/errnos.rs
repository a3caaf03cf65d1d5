//! What the victims of `fail` and `kill` see, and what the ledger says of it.

use std::{fs, thread};

use anyhow::Result;
use chaos_tests::{
    machine::Shared,
    process::{Place, Process},
};
use tempfile::TempDir;

use super::{
    PATIENCE, Ran, answers_by_seccomp, programs::Programs, require_seccomp, run, runs, support,
    times,
};

/// x86-64 numbers.
const GETPID: &str = "39";
const GETPPID: &str = "110";

#[test]
fn every_errno_reaches_the_caller() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    for (name, number) in [("EPERM", 1), ("EINTR", 4), ("ENOSYS", 38), ("ECANCELED", 125)] {
        let ran = Ran::under(&format!("fail getppid with {name}"), &[], &[&*raw, "50", GETPPID])?;
        assert_eq!(ran.lines[0], format!("-{number}*50"));
        assert_eq!(ran.counts(0), (50, 50), "{}", ran.ledger);
    }
    Ok(())
}

#[test]
fn chance_ordinals_and_budgets_are_exact() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let victim = |rounds| [raw.clone(), rounds, GETPPID.to_owned()];
    let ran = Ran::under("fail getppid with EIO every 5th", &[], &victim("20".to_owned()))?;
    assert_eq!(ran.lines[0], "OK*4 -5 OK*4 -5 OK*4 -5 OK*4 -5");
    assert_eq!(ran.counts(0), (20, 4));
    let ran = Ran::under("fail getppid with EIO at most 3", &[], &victim("10".to_owned()))?;
    assert_eq!(ran.lines[0], "-5*3 OK*7");
    assert_eq!(ran.ledger["faults"][0]["counts"]["spared"]["at-most"], 7);

    let chance =
        || Ran::under("fail getppid with EIO 20%", &["--seed", "7"], &victim("2000".to_owned()));
    let (first, second) = (chance()?, chance()?);
    assert_eq!(first.lines[0], second.lines[0], "a seed repeats the decisions");
    let seen = runs(&first.lines[0]);
    assert_eq!(times(&seen, 5), first.count(0, "injected"));
    assert_eq!(times(&seen, 0) + times(&seen, 5), 2000);
    // Five standard deviations around 400.
    assert!((310..=490).contains(&times(&seen, 5)), "{}", times(&seen, 5));

    let ran =
        Ran::under("fail getppid with ENOSPC*3, EIO", &["--seed", "3"], &victim("400".to_owned()))?;
    let seen = runs(&ran.lines[0]);
    assert_eq!(times(&seen, 28) + times(&seen, 5), 400);
    assert!((255..=345).contains(&times(&seen, 28)), "{}", times(&seen, 28));
    Ok(())
}

#[test]
fn a_shadow_counts_and_does_nothing() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let ran = Ran::under("shadow fail getppid with EIO", &[], &[&*programs.raw()?, "30", GETPPID])?;
    assert_eq!(ran.lines[0], "OK*30");
    assert_eq!((ran.counts(0), ran.count(0, "shadowed")), ((30, 0), 30));
    Ok(())
}

/// The 32-bit program makes the same calls under other numbers.
#[test]
fn i386_programs_are_reached_too() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let file = directory.path().join("file");
    fs::write(&file, "x")?;
    // getppid, getpid, open.
    let open = format!("5,s{}", file.display());
    let faults = format!(
        "fail getppid with EPERM every 2nd; fail open with EIO under {}",
        directory.path().display()
    );
    let ran = Ran::under(&faults, &[], &[&*programs.raw_i386()?, "4", "64", "20", &*open])?;
    assert_eq!(ran.lines[..3], ["OK -1 OK -1", "OK*4", "-5*4"]);
    assert_eq!((ran.counts(0), ran.counts(1)), ((4, 2), (4, 4)));
    Ok(())
}

#[test]
fn threads_of_every_c_library_are_counted_together() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let file = directory.path().join("file");
    fs::write(&file, "x")?;
    let fault = format!("fail open with EIO every 3rd under {}", directory.path().display());
    for (compiler, options) in
        [("gcc", &[][..]), ("gcc", &["-static"]), ("musl-gcc", &[]), ("musl-gcc", &["-static"])]
    {
        let program = programs.threads(compiler, options)?;
        let file = file.to_str().expect("a path in UTF-8");
        let ran = Ran::under(&fault, &[], &[&*program, "4", "300", file])?;
        assert_eq!(ran.lines, ["400"], "{compiler} {options:?}");
        assert_eq!(ran.counts(0), (1200, 400), "{compiler} {options:?}: {}", ran.ledger);
    }
    Ok(())
}

#[test]
fn what_the_command_starts_is_reached_and_a_twin_is_not() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let script = format!("for i in 1 2 3; do {raw} 10 {GETPPID}; done; exec {raw} 5 {GETPPID}");
    let neighbour = thread::spawn({
        let raw = raw.clone();
        move || std::process::Command::new(raw).args(["100000", GETPPID, GETPID]).output()
    });
    let ran = Ran::under("fail getppid with EIO", &[], &["sh", "-c", &*script])?;
    let results: Vec<&String> = ran.lines.iter().step_by(2).collect();
    assert_eq!(results, ["-5*10", "-5*10", "-5*10", "-5*5"]);
    // The shell asks for its parent, too.
    assert!(ran.count(0, "injected") >= 35, "{}", ran.ledger);
    let neighbour = neighbour.join().expect("the neighbour's thread")?;
    assert!(String::from_utf8(neighbour.stdout)?.starts_with("OK*100000\nOK*100000\n"));
    Ok(())
}

/// The calls that start the command are ours, and those of the supervisor are nobody's.
#[test]
fn the_command_starts_whatever_call_fails() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    for calls in [
        "execve, openat, read, close, mmap, futex, brk",
        "sendmsg, recvmsg, poll, ioctl, process_vm_readv, kill",
        "seccomp, getpid, clock_gettime, sched_yield",
    ] {
        let ran = Ran::under(&format!("fail {calls} with EIO"), &[], &[&*raw, "3", GETPPID])?;
        assert_eq!((ran.code, &*ran.lines[0]), (Some(0), "OK*3"), "{calls}");
    }
    let output = run("fail execve, write with EIO", &[], &["/nonexistent"])?.output()?;
    assert_eq!(output.status.code(), Some(127));
    let ran = Ran::under("fail execve with EACCES", &[], &["sh", "-c", "/bin/true; echo $?"])?;
    assert_eq!(ran.lines, ["126"]);
    assert_eq!(ran.counts(0), (1, 1));
    Ok(())
}

#[test]
fn kill_ends_the_calling_process() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let script = format!("{raw} 5 {GETPID}; echo $?; {raw} 1 {GETPID}; echo $?");
    let ran = Ran::under("kill getpid every 3rd at most 1", &[], &["sh", "-c", &*script])?;
    assert_eq!(ran.lines[0], "137");
    assert_eq!(ran.lines[1], "OK");
    assert_eq!(ran.count(0, "injected"), 1, "{}", ran.ledger);
    Ok(())
}

#[test]
fn faults_end_with_their_deadline() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let fault = "fail getppid with EIO for 2s";
    let script = format!("{raw} 100 {GETPPID}; sleep 2.2; {raw} 100 {GETPPID}");
    let mut process = Process::spawn(run(fault, &["-q"], &["sh", "-c", &*script])?, Place::here())?;
    assert!(process.wait(PATIENCE)?.success());
    let lines: Vec<String> = process.remaining_lines().collect();
    assert!(lines[0].starts_with("-5"), "{lines:?}");
    assert_eq!(lines[2], "OK*100", "{lines:?}");
    Ok(())
}
