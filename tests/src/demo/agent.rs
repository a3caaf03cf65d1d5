//! An agent process that breaks one cgroup for as long as it lives.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_agent::arm::FaultReport;
use chaos_tests::{
    cgroup::TestCgroup,
    injector::{Injector, parse},
    process::{Place, Process},
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Agent {
    process: Process,
}

impl Agent {
    /// Starts an agent and waits until it has armed the fault.
    pub fn inject(program: &Path, cgroup: &TestCgroup, fault: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("inject").arg(cgroup.path()).arg(fault);
        let process = Process::spawn(command, Place::here())?;
        process.line(PATIENCE).context("wait for the agent to arm")?;
        Ok(Self { process })
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Tells it to disarm, and waits for its ledger.
    pub fn stop(mut self) -> Result<FaultReport> {
        self.process.close_stdin();
        let line = self.process.line(PATIENCE).context("wait for the agent's ledger")?;
        self.process.wait(PATIENCE)?;
        serde_json::from_str(&line).with_context(|| format!("the agent said {line:?}"))
    }
}

/// The agent's side: arms, says so, and disarms when its standard input closes.
pub fn serve(cgroup: &Path, fault: &str) -> Result<()> {
    let mut injector = Injector::new(cgroup)?;
    injector.arm(injector.target(cgroup)?, &parse(fault)?)?;
    say("armed")?;
    io::copy(&mut io::stdin().lock(), &mut io::sink()).context("wait for the end")?;
    let report = injector.disarm().context("nothing was armed")?;
    let fault = report.faults.first().context("one fault was armed")?;
    say(&serde_json::to_string(fault)?)
}

fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("answer")
}
