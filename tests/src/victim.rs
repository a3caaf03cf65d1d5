//! Starting victims and reading what they report.

use std::{ffi::OsString, marker::PhantomData, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{sys::signal::Signal, unistd::Pid};

use crate::{
    clock::is_emulated,
    job::{Job, Options, Ready},
    process::{Place, Process},
    program,
};

/// How long a victim may take to start, and to report after it was told to stop.
fn patience() -> Duration {
    Duration::from_secs(if is_emulated() { 240 } else { 60 })
}

/// A process that does one job. Dropping it kills it.
#[derive(Debug)]
pub struct Victim<O> {
    process: Process,
    ready: Ready,
    job: PhantomData<O>,
}

impl<O: Options> Victim<O> {
    /// Starts a victim and waits until it is set up: a server serves then.
    pub fn start(options: O, place: Place<'_>) -> Result<Self> {
        let mut arguments = command_line(options)?.into_iter();
        let mut command = Command::new(arguments.next().context("a command line has a program")?);
        command.args(arguments);
        let process = Process::spawn(command, place)?;
        let line = process.line(patience()).context("wait for a victim to be ready")?;
        let ready = serde_json::from_str(&line).with_context(|| format!("victim said {line:?}"))?;
        Ok(Self { process, ready, job: PhantomData })
    }

    /// Starts a victim whose job ends by itself and waits for its report.
    pub fn run(options: O, place: Place<'_>) -> Result<O::Report> {
        Self::start(options, place)?.report()
    }

    /// Where it serves.
    ///
    /// # Panics
    /// If its job is not one that serves.
    pub fn address(&self) -> SocketAddr {
        self.ready.address.expect("only servers have an address")
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Tells it to stop and waits for its report.
    pub fn stop(mut self) -> Result<O::Report> {
        self.process.close_stdin();
        self.report()
    }

    /// Waits for the report of a job that ends by itself.
    pub fn report(mut self) -> Result<O::Report> {
        let line = self.process.line(patience()).context("wait for a victim's report")?;
        let status = self.process.wait(patience())?;
        if !status.success() {
            bail!("victim {} ended with {status}", self.pid());
        }
        parse_report::<O>(&line)
    }
}

/// The program and arguments of a victim, for tests in which something else starts it.
pub fn command_line(options: impl Options) -> Result<[OsString; 2]> {
    let job: Job = options.into();
    let job = serde_json::to_string(&job).context("write a job as JSON")?;
    Ok([program::victim()?.into(), job.into()])
}

/// Reads the last line that a victim printed.
pub fn parse_report<O: Options>(line: &str) -> Result<O::Report> {
    serde_json::from_str(line).with_context(|| format!("victim reported {line:?}"))
}
