//! Processes of the demonstration: this program, started again inside a host.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use chaos_engine::cgroup::{NetNs, TransientCgroup};
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl::set_pdeathsig, signal::Signal},
};

use super::{
    DemoError,
    job::{Job, Listening, Report},
};

/// The program that is running, also where it was replaced or removed meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// The verb that makes it a client or a server.
const VERB: &str = "victim";

/// Where a process runs.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub cgroup: &'a TransientCgroup,
    pub network: &'a NetNs,
}

/// A client or a server at work. It is ended when this is dropped.
pub struct Victim {
    child: Child,
    /// It works until this is closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts a client.
    ///
    /// # Errors
    /// When the process can't be started there.
    pub fn start(place: Place<'_>, job: &Job) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Process { doing: "start", source };
        let job = serde_json::to_string(job).map_err(|error| failed(error.into()))?;
        let mut command = this_program([OsStr::new(VERB), OsStr::new(&job)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        place.cgroup.contain(&mut command)?;
        let network: OwnedFd = place.network.as_fd().try_clone_to_owned().map_err(failed)?;
        // SAFETY: between fork and exec only setns(2) is called, which is async-signal-safe; nothing is
        // allocated.
        unsafe { command.pre_exec(move || Ok(setns(&network, CloneFlags::CLONE_NEWNET)?)) };
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Starts a server, and waits until it listens; where.
    ///
    /// # Errors
    /// When the process can't be started there, or ends instead of listening.
    pub fn serve(place: Place<'_>, job: &Job) -> Result<(Self, SocketAddr), DemoError> {
        let mut server = Self::start(place, job)?;
        let Listening { address } = server.read()?;
        Ok((server, address))
    }

    /// Waits until a client is through.
    ///
    /// # Errors
    /// When it ends without a report.
    pub fn report(mut self) -> Result<Report, DemoError> {
        self.read()
    }

    /// Tells a server, or a client that has no end, to stop.
    ///
    /// # Errors
    /// When it ends without a report.
    pub fn stop(mut self) -> Result<Report, DemoError> {
        drop(self.stdin.take());
        self.read()
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, DemoError> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        let parsed = read.and_then(|_| Ok(serde_json::from_str(&line)?));
        parsed.map_err(|source| DemoError::Process { doing: "read the report of", source })
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It has ended by itself, or it is not needed any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// This program with other arguments. It is told to end when the demonstration is killed.
pub fn this_program<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command.args(arguments);
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe; nothing is
    // allocated.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
    command
}

/// All that is left to be read.
pub fn rest(mut output: impl io::Read) -> String {
    let mut text = Vec::new();
    drop(output.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}
