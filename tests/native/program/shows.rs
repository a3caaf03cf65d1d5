//! `chaos-agent demo` and the program behind `cargo xtask bench` work.

use std::{
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    machine::Quiet,
    process::{Place, Process},
    program::agent,
    residue::Snapshot,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::agent::has_frames;

/// How many faults are shown.
const FAULTS: usize = 6;
/// A killed process is gone, and what it held, a moment later.
const SOON: Duration = Duration::from_secs(5);

fn demo(arguments: &[&str]) -> Result<Output> {
    Command::new(agent()?).arg("demo").args(arguments).output().context("run the demo")
}

/// It fails where victim and kernel disagree, a neighbour is touched, or something is left behind.
#[test]
fn the_demo_holds_what_it_shows() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let before = Snapshot::take(&quiet, &[])?;
    let Output { status, stdout, stderr } = demo(&[])?;
    let (text, complaint) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{status}\n{text}\n{complaint}");
    let counted = text.matches("injected").count();
    let refused = text.matches("refused").count();
    ensure!(counted + refused == FAULTS, "{FAULTS} faults are shown:\n{text}");
    ensure!(refused == 0 || has_frames(&quiet).is_err(), "a fault was refused:\n{text}");
    ensure!(text.contains("nothing left") && !text.contains('\u{1b}'), "{text}");
    let left = before.settle(&quiet, &[])?;
    ensure!(left.appeared.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn the_demo_tells_programs_the_same() -> Result<()> {
    let _quiet = Quiet::acquire()?;
    let Output { status, stdout, stderr } = demo(&["--output=json"])?;
    let complaint = String::from_utf8_lossy(&stderr);
    ensure!(status.success() && complaint.is_empty(), "{status}\n{complaint}");
    let report: Value = serde_json::from_slice(&stdout)?;
    let faults = report["faults"].as_array().context("no faults")?;
    ensure!(report["holds"] == true && faults.len() == FAULTS, "{report:#}");
    let loss = &faults[0];
    ensure!(loss["victim"]["broken"] == loss["kernel"]["injected"], "{loss:#}");
    ensure!(loss["victim"]["tried"] == 1500 && loss["neighbour"]["broken"] == 0, "{loss:#}");
    Ok(())
}

/// What is left of it are cgroups without processes, which the next one removes.
#[test]
fn a_killed_demo_breaks_nothing_any_longer() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let before = Snapshot::take(&quiet, &[])?;
    let mut command = Command::new(agent()?);
    command.arg("demo");
    let mut demo = Process::spawn(command, Place::here())?;
    while !demo.line(SOON)?.starts_with("drop 30%") {}
    sleep(Duration::from_millis(500));
    demo.signal(Signal::SIGKILL)?;
    demo.wait(SOON)?;
    let left = before.settle(&quiet, &[])?;
    let is_cgroup =
        |thing: &String| thing.starts_with("cgroup ") && thing.contains("chaos-agent-run-");
    ensure!(left.appeared.iter().all(is_cgroup), "{left:?}");
    let next = Command::new(agent()?).args(["run", "--fault", "drop", "--", "true"]).output()?;
    ensure!(next.status.success(), "{next:?}");
    let left = before.settle(&quiet, &[])?;
    ensure!(left.appeared.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn the_benchmark_measures_everything_once() -> Result<()> {
    let measured = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--quick").output()?;
    let text = String::from_utf8_lossy(&measured.stdout);
    let complaint = String::from_utf8_lossy(&measured.stderr);
    ensure!(measured.status.success(), "{}\n{complaint}", measured.status);
    ensure!(text.matches("### ").count() == 6 && !text.contains("NaN"), "{text}");
    Ok(())
}
