//! The agent, breaking one cgroup for as long as it runs.

use std::{ffi::OsStr, iter, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_agent::arm::{FaultReport, TargetReport};
use chaos_tests::{
    cgroup::TestCgroup,
    process::{Place, Process},
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running `chaos-agent inject`.
pub struct Agent {
    process: Process,
}

/// What came of asking for a fault.
pub enum Attempt {
    Armed(Agent),
    /// This kernel can't do it; why, in the agent's words.
    Refused(String),
}

impl Agent {
    /// Starts the agent and waits until it has armed the fault, or refused to.
    pub fn inject(program: &Path, cgroup: &TestCgroup, fault: &str) -> Result<Attempt> {
        // It says on standard error that it has armed, and prints the ledger on standard output.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(program);
        command.args([
            OsStr::new("inject"),
            OsStr::new("--cgroup"),
            cgroup.path().as_os_str(),
            OsStr::new("--fault"),
            OsStr::new(fault),
            OsStr::new("--output=json"),
        ]);
        let process = Process::spawn(command, Place::here())?;
        let line = process.line(PATIENCE).context("wait for the agent to arm")?;
        if line.contains("armed") {
            return Ok(Attempt::Armed(Self { process }));
        }
        let lines: Vec<String> = iter::once(line).chain(process.remaining_lines()).collect();
        let said = lines.join("\n");
        ensure!(said.starts_with("error: cannot "), "the agent said {said:?}");
        Ok(Attempt::Refused(said))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it as Ctrl-C would, and returns its ledger.
    pub fn stop(mut self) -> Result<FaultReport> {
        self.signal(Signal::SIGINT)?;
        self.process.wait(PATIENCE)?;
        let lines = self.process.remaining_lines().skip_while(|line| line != "{");
        let ledger = lines.collect::<Vec<_>>().join("\n");
        let report: TargetReport =
            serde_json::from_str(&ledger).with_context(|| format!("the agent said {ledger:?}"))?;
        report.faults.into_iter().next().context("the ledger has no fault")
    }
}
