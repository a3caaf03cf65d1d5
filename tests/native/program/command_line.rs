//! `chaos-agent run` and `inject` as their users meet them, against real processes.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::{self, TestCgroup},
    job::{Call, Repeated, TcpServe},
    machine::{Quiet, Shared},
    netns::TestNetns,
    process::{Place, Process},
    program,
    residue::Snapshot,
    tally::Tally,
    victim::{Victim, command_line, parse_report},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);

fn agent(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(program::agent()?);
    command.args(arguments);
    Ok(command)
}

fn run_shell(arguments: &[&str], script: &str) -> Result<Command> {
    let mut command = agent(&["run"])?;
    command.args(arguments).args(["--", "sh", "-c", script]);
    Ok(command)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a victim saw that connected `count` times as the child of `run`, and the ledger.
fn connect_under(fault: &str, options: &[&str], count: u64) -> Result<(Tally, Value)> {
    let netns = TestNetns::new()?;
    let bind = "127.0.0.1:0".parse()?;
    let server = Victim::start(TcpServe { bind }, Place::here().netns(&netns))?;
    let to = server.address();
    let what = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    let report = tempfile::NamedTempFile::new()?;
    let mut command = agent(&["run", "--quiet", "--fault"])?;
    command.arg(fault.replace("PORT", &to.port().to_string()));
    command.args(options).arg("--report").arg(report.path()).arg("--");
    command.args(command_line(Call::new(what, count))?);
    let mut process = Process::spawn(command, Place::here().netns(&netns))?;
    process.line(PATIENCE).context("the victim is ready")?;
    let line = process.line(PATIENCE).context("the victim reports")?;
    assert!(process.wait(PATIENCE)?.success());
    let seen = parse_report::<Call>(&line)?.total();
    Ok((seen, serde_json::from_slice(&fs::read(report.path())?)?))
}

#[test]
fn every_connection_of_the_child_is_refused() -> Result<()> {
    let _machine = Shared::acquire()?;
    let fault = "fail connect with ECONNREFUSED to port PORT";
    let (seen, ledger) = connect_under(fault, &[], 100)?;
    assert_eq!((seen.failed_with("ECONNREFUSED"), seen.ok), (100, 0));
    let counts = &ledger["faults"][0]["counts"];
    assert_eq!((&counts["matched"], &counts["injected"]), (&100.into(), &100.into()), "{ledger}");
    assert_eq!(ledger["exitCode"], 0);
    Ok(())
}

#[test]
fn a_share_is_refused_and_the_seed_repeats_it() -> Result<()> {
    let _machine = Shared::acquire()?;
    let fault = "fail connect with ECONNREFUSED 50%";
    let (seen, ledger) = connect_under(fault, &[], 200)?;
    let counts = &ledger["faults"][0]["counts"];
    assert_eq!(counts["injected"], seen.failed_with("ECONNREFUSED"), "{ledger}");
    assert_eq!(counts["spared"]["chance"], seen.ok, "{ledger}");
    assert!(seen.ok > 0 && seen.failed() > 0, "{seen:?}");
    let seed = ledger["seed"].to_string();
    let (again, _) = connect_under(fault, &["--seed", &seed], 200)?;
    assert_eq!((again.ok, again.failed()), (seen.ok, seen.failed()));
    Ok(())
}

/// As behind `ip netns exec`, whose new `/sys` hides where cgroup v2 is mounted.
#[test]
fn a_mount_that_is_hidden_is_found_all_the_same() -> Result<()> {
    let _machine = Shared::acquire()?;
    let connect =
        Repeated::Connect { to: "127.0.0.1:9".parse()?, nonblocking: false, timeout: SOON };
    let fault = "fail connect with EHOSTDOWN to port 9";
    let mut command = Command::new("unshare");
    let hide = "umount --lazy /sys && mount -t sysfs sysfs /sys && exec \"$0\" \"$@\"";
    command.args(["--mount", "--net", "sh", "-c", hide]);
    command.arg(program::agent()?).args(["run", "--quiet", "--fault", fault, "--"]);
    command.args(command_line(Call::new(connect, 10))?);
    let mut process = Process::spawn(command, Place::here())?;
    process.line(PATIENCE).context("the victim is ready")?;
    let line = process.line(PATIENCE).context("the victim reports")?;
    assert!(process.wait(PATIENCE)?.success());
    assert_eq!(parse_report::<Call>(&line)?.total().failed_with("EHOSTDOWN"), 10);
    Ok(())
}

#[test]
fn run_exits_as_its_command_does() -> Result<()> {
    let _machine = Shared::acquire()?;
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        let output = run_shell(&["--fault", "drop port 9"], script)?.output()?;
        assert_eq!(output.status.code(), Some(code), "{script}: {}", errors(&output));
        assert!(errors(&output).contains("sh has ended"), "{script}: {}", errors(&output));
    }
    let not_executable = tempfile::NamedTempFile::new()?;
    let not_executable = not_executable.path().to_str().context("a path in UTF-8")?;
    for (program, code) in [("/nonexistent", 127), (not_executable, 126)] {
        let output = agent(&["run", "--fault", "drop port 9", "--", program])?.output()?;
        assert_eq!(output.status.code(), Some(code), "{}", errors(&output));
        assert!(errors(&output).contains(&format!("cannot run {program}: ")));
    }
    Ok(())
}

#[test]
fn signals_are_passed_on() -> Result<()> {
    let _machine = Shared::acquire()?;
    let script = "for s in INT TERM HUP QUIT USR1 USR2 WINCH; do trap \"echo $s\" $s; done; \
                  echo ready; while kill -0 $PPID 2>&-; do sleep 0.01; done";
    let command = run_shell(&["-q", "--fault", "drop port 9"], script)?;
    let process = Process::spawn(command, Place::here())?;
    assert_eq!(process.line(PATIENCE)?, "ready");
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
    ] {
        process.signal(signal)?;
        assert_eq!(format!("SIG{}", process.line(PATIENCE)?), signal.as_str());
    }
    Ok(())
}

#[test]
fn what_outlives_the_command_is_let_go() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let before = Snapshot::take(&quiet, &[])?;
    let script = "sleep 60 >&- 2>&- & echo $!";
    let output = run_shell(&["--fault", "drop; corrupt 1%"], script)?.output()?;
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("1 process outlived the command"), "{}", errors(&output));
    let left = Pid::from_raw(String::from_utf8(output.stdout)?.trim().parse()?);
    let diff = before.settle(&quiet, &[])?;
    kill(left, Signal::SIGKILL).context("it still ran")?;
    diff.assert_empty();
    Ok(())
}

#[test]
fn one_refused_fault_keeps_the_command_from_running() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let before = Snapshot::take(&quiet, &[])?;
    let output = run_shell(&["--fault", "drop; skew clock by +1d"], "echo ran")?.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(errors(&output).contains("error: cannot `skew clock by +1d`: "), "{}", errors(&output));
    before.settle(&quiet, &[])?.assert_empty();
    Ok(())
}

/// `inject` on a cgroup of the test's own, once its faults are in force.
fn inject(cgroup: &TestCgroup, arguments: &[&str]) -> Result<(Process, tempfile::NamedTempFile)> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = agent(&["inject", "--output", "json", "--cgroup"])?;
    command.arg(cgroup.path()).args(arguments).stderr(Stdio::from(log.reopen()?));
    let process = Process::spawn(command, Place::here())?;
    wait_for(log.path(), "armed for cgroup:")?;
    Ok((process, log))
}

fn wait_for(log: &Path, text: &str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(log)?;
        if said.contains(text) {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "no {text:?} in {said:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How `inject` ended, and the object that it printed.
fn outcome(mut process: Process) -> Result<(Option<i32>, Value)> {
    let status = process.wait(PATIENCE)?;
    let printed: Vec<String> = process.remaining_lines().collect();
    Ok((status.code(), serde_json::from_str(&printed.join("\n"))?))
}

#[test]
fn inject_ends_with_its_time_or_a_signal_and_prints_the_ledger() -> Result<()> {
    let machine = Shared::acquire()?;
    let cgroup = TestCgroup::new(&machine, "inject")?;
    let netns = TestNetns::new()?;
    let fault = ["--fault", "fail connect with EHOSTDOWN"];
    let to = "127.0.0.1:9".parse()?;
    let what = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    let place = Place::here().cgroup(&cgroup).netns(&netns);

    let (process, _log) = inject(&cgroup, &fault)?;
    let seen = Victim::run(Call::new(what.clone(), 10), place)?.total();
    process.signal(Signal::SIGTERM)?;
    let (code, report) = outcome(process)?;
    assert_eq!((code, &report["endedBecause"]), (Some(0), &"SIGTERM was received".into()));
    assert_eq!(seen.failed_with("EHOSTDOWN"), 10);
    assert_eq!(report["faults"][0]["counts"]["injected"], 10, "{report}");

    assert_eq!(report["faults"][0].get("unmatched"), None, "{report}");

    let (process, _log) = inject(&cgroup, &[&fault[..], &["--for", "300ms"]].concat())?;
    let (code, report) = outcome(process)?;
    assert_eq!((code, &report["endedBecause"]), (Some(0), &"its time is up".into()));
    let unmatched = report["faults"][0]["unmatched"].as_str().context("nothing matched it")?;
    assert!(unmatched.contains("connections that were open before"), "{report}");
    assert_eq!(Victim::run(Call::new(what, 10), place)?.total().failed_with("EHOSTDOWN"), 0);
    Ok(())
}

#[test]
fn a_target_that_vanishes_is_told() -> Result<()> {
    let machine = Shared::acquire()?;
    let cgroup = TestCgroup::new(&machine, "vanishes")?;
    let (process, log) = inject(&cgroup, &["--fault", "drop"])?;
    let name = format!("/{}", cgroup.path().strip_prefix(cgroup::root()?)?.display());
    drop(cgroup);
    let (code, report) = outcome(process)?;
    assert_eq!(code, Some(1), "{report}");
    assert!(fs::read_to_string(log.path())?.contains(&format!("cgroup {name} is gone")));
    Ok(())
}

/// What was in force and met nothing is remarked on, and what was not in force is not.
#[test]
fn run_says_what_nothing_has_matched() -> Result<()> {
    let _machine = Shared::acquire()?;
    let faults = "drop to port 9; fail connect with EIO to port 9; drop from port 9 after 10m";
    let output = run_shell(&["--fault", faults], "true")?.output()?;
    let said = errors(&output);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("nothing matched")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("`drop to port 9`: `to port 9` is what leaves for port 9"), "{said}");
    assert!(lines[1].contains("`fail connect with EIO to port 9`: another address"), "{said}");
    let output = run_shell(&["--quiet", "--fault", faults], "true")?.output()?;
    assert_eq!(errors(&output), "");
    Ok(())
}

/// A time that is longer than allowed otherwise.
#[test]
fn a_fault_lasts_longer_than_an_hour_where_that_is_allowed() -> Result<()> {
    let _machine = Shared::acquire()?;
    let report = tempfile::NamedTempFile::new()?;
    let path = report.path().to_str().context("a path in UTF-8")?;
    let options = ["--fault", "drop to port 9 for 90m; drop to port 8", "--longest", "3h", "-q"];
    let output = run_shell(&[&options[..], &["--report", path]].concat(), "true")?.output()?;
    assert!(output.status.success(), "{}", errors(&output));
    let report: Value = serde_json::from_slice(&fs::read(report.path())?)?;
    let minutes = |fault: usize| {
        let fault = &report["faults"][fault];
        Some((fault["ends"].as_u64()? - fault["began"].as_u64()?) / 60_000_000_000)
    };
    assert_eq!((minutes(0), minutes(1)), (Some(90), Some(180)), "{report}");
    Ok(())
}

/// Also where nothing can be tried: it says so, hook by hook.
#[test]
fn doctor_writes_what_explain_reads() -> Result<()> {
    let _machine = Shared::acquire()?;
    let doctor = agent(&["doctor", "--output", "json"])?.output()?;
    let features: Value = serde_json::from_slice(&doctor.stdout)?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &doctor.stdout)?;
    let path: OsString = file.path().into();
    let explain = agent(&["explain", "--fault", "drop", "--features"])?.arg(path).output()?;
    assert_eq!(explain.status.code(), doctor.status.code());
    let release = features["release"].as_str().context("a release")?;
    assert!(String::from_utf8(explain.stdout)?.contains(release));
    Ok(())
}
