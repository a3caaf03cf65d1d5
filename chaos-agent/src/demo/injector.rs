//! `chaos-agent inject`, breaking one cgroup for as long as it runs.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStderr, Stdio},
};

use chaos_api::{FaultReport, TargetReport};
use chaos_engine::cgroup::Cgroup;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    DemoError,
    process::{rest, this_program},
};

/// How long a fault lasts if nobody ends it: longer than any part of the demonstration.
const LONGEST: &str = "1m";

/// A process that keeps one fault armed. The fault ends when this is dropped.
pub struct Injector {
    child: Child,
    /// It is read to the end, so that the process can write.
    stderr: BufReader<ChildStderr>,
}

/// What came of asking for a fault.
pub enum Attempt {
    Armed(Injector),
    /// This kernel can't do it, or a right is missing; in the agent's words.
    Refused(String),
}

impl Injector {
    /// Starts the process and waits until it has armed the fault, or refused to.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(cgroup: &Cgroup, fault: &str) -> Result<Attempt, DemoError> {
        let words = ["inject", "--output=json", "--for", LONGEST, "--fault", fault, "--cgroup"];
        let path = cgroup.path().as_os_str();
        let mut command = this_program(words.map(OsStr::new).into_iter().chain([path]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |source| DemoError::Process { doing: "start", source };
        let mut child = command.spawn().map_err(failed)?;
        let stderr =
            child.stderr.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let mut injector = Self { child, stderr: BufReader::new(stderr) };
        let mut said = String::new();
        loop {
            let before = said.len();
            let read = injector.stderr.read_line(&mut said).map_err(failed)?;
            if said.get(before..).is_some_and(|line| line.contains(" armed for ")) {
                return Ok(Attempt::Armed(injector));
            }
            if read == 0 {
                return Ok(Attempt::Refused(said.trim_end().to_owned()));
            }
        }
    }

    /// Ends it as Ctrl-C would, and returns its ledger.
    ///
    /// # Errors
    /// When it prints none.
    pub fn stop(mut self) -> Result<FaultReport, DemoError> {
        self.signal(Signal::SIGINT)?;
        let printed = self.child.stdout.take().map(rest).unwrap_or_default();
        let report = serde_json::from_str(&printed).ok();
        let fault = report.and_then(|report: TargetReport| report.faults.into_iter().next());
        fault.ok_or_else(|| DemoError::NoLedger { said: printed + &rest(&mut self.stderr) })
    }

    /// Kills it, as the kernel does when memory runs out.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(mut self) -> Result<(), DemoError> {
        self.signal(Signal::SIGKILL)?;
        let waited = self.child.wait().map(drop);
        waited.map_err(|source| DemoError::Process { doing: "wait for", source })
    }

    fn signal(&self, signal: Signal) -> Result<(), DemoError> {
        let failed = |source| DemoError::Process { doing: "signal", source };
        let pid =
            i32::try_from(self.child.id()).map_err(|error| failed(std::io::Error::other(error)))?;
        // Not waited for yet, so the number is still the process's.
        kill(Pid::from_raw(pid), signal).map_err(|errno| failed(errno.into()))
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // It has ended by itself, or it is not needed any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
