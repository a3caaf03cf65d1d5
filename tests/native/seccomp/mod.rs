//! System calls of `run`'s child answered by way of seccomp, as on kernels that deny tracing
//! programs.

mod choice;
mod classes;
mod containers;
mod death;
mod errnos;
mod hostile;
mod parity;
mod paths;
pub mod programs;

use std::{ffi::OsStr, fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_plan::{Backend, Support};
use chaos_tests::{
    process::{Place, Process},
    program,
};
use serde_json::Value;
use tempfile::NamedTempFile;

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this kernel has what supervisors need; it is from 5.9 on.
fn support() -> Result<(), String> {
    match chaos_engine::seccomp::support() {
        Support::Works => Ok(()),
        Support::Missing { reason, .. } => Err(reason),
    }
}

/// Whether calls of `run`'s child come to a supervisor here. Where the kernel itself can answer them,
/// they do not, and there is nothing to test.
pub fn answers_by_seccomp() -> Result<(), String> {
    comes_to_a_supervisor("fail getppid with EIO")
}

/// Whether the calls of this fault do: a kernel may answer some calls by itself and not others.
pub fn comes_to_a_supervisor(fault: &str) -> Result<(), String> {
    support()?;
    let output = Command::new(program::agent().map_err(|error| error.to_string())?)
        .args(["explain", "--output", "json", "--fault", fault])
        .output()
        .map_err(|error| error.to_string())?;
    let plan: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let backend = &plan["rules"][0]["calls"][0]["backend"];
    if *backend == Backend::Seccomp.name() {
        return Ok(());
    }
    Err(format!("the calls are answered by {backend}"))
}

/// Skips a test where calls do not come to a supervisor.
macro_rules! require_seccomp {
    () => {
        chaos_tests::require!("seccomp notification", since 5, 9; support());
        chaos_tests::require!("calls by seccomp"; answers_by_seccomp());
    };
}
use require_seccomp;

/// `run` with these faults, one text.
fn run(faults: &str, options: &[&str], command: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut run = Command::new(program::agent()?);
    run.args(["run", "--fault", faults]).args(options).arg("--").args(command);
    Ok(run)
}

/// What a command printed that has run to its end, and the ledger.
pub struct Ran {
    pub code: Option<i32>,
    pub lines: Vec<String>,
    pub ledger: Value,
}

impl Ran {
    /// Runs a command under faults.
    pub fn under(faults: &str, options: &[&str], command: &[impl AsRef<OsStr>]) -> Result<Self> {
        let report = NamedTempFile::new()?;
        let report_path = report.path().to_str().context("a path in UTF-8")?;
        let options = [options, &["--quiet", "--report", report_path]].concat();
        let mut process = Process::spawn(run(faults, &options, command)?, Place::here())?;
        let code = process.wait(PATIENCE)?.code();
        let lines = process.remaining_lines().collect();
        let ledger = fs::read(report.path())?;
        ensure!(!ledger.is_empty(), "{faults}: no ledger, exit code {code:?}");
        Ok(Self { code, lines, ledger: serde_json::from_slice(&ledger)? })
    }

    /// A count of a fault.
    fn count(&self, fault: usize, name: &str) -> u64 {
        self.ledger["faults"][fault]["counts"][name].as_u64().unwrap_or_default()
    }

    /// `matched` and `injected` of a fault.
    pub fn counts(&self, fault: usize) -> (u64, u64) {
        (self.count(fault, "matched"), self.count(fault, "injected"))
    }
}

/// The results in a line of the program `raw`: (errno or 0, how often).
fn runs(line: &str) -> Vec<(i32, u64)> {
    line.split(' ')
        .map(|run| {
            let (result, times) = run.split_once('*').unwrap_or((run, "1"));
            let errno = result.strip_prefix('-').map_or(0, |errno| errno.parse().unwrap_or(-1));
            (errno, times.parse().unwrap_or_default())
        })
        .collect()
}

/// How often this errno (0: none) is in the results.
fn times(runs: &[(i32, u64)], errno: i32) -> u64 {
    runs.iter().filter(|(result, _)| *result == errno).map(|(_, times)| times).sum()
}
