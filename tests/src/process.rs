//! Processes that are put somewhere and do not outlive their test.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SigHandler, Signal, kill, signal},
    },
    unistd::{self, Pid},
};

use crate::{cgroup::TestCgroup, netns::TestNetns};

/// What a shell without job control has its background commands ignore, and nohup: tests do not
/// depend on how they were started, and a shell can't trap what it began by ignoring.
const INHERITED: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];

/// Where a process runs: by default where the test itself runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    cgroup: Option<&'a TestCgroup>,
    netns: Option<&'a TestNetns>,
}

impl<'a> Place<'a> {
    /// In the test's own cgroup and network namespace.
    pub fn here() -> Self {
        Self::default()
    }

    pub fn cgroup(self, cgroup: &'a TestCgroup) -> Self {
        Self { cgroup: Some(cgroup), ..self }
    }

    pub fn netns(self, netns: &'a TestNetns) -> Self {
        Self { netns: Some(netns), ..self }
    }

    /// Makes `command` move itself here before it executes its program, so that the program's
    /// first instruction already runs in this place.
    fn apply(self, command: &mut Command) -> Result<()> {
        let procs = match self.cgroup {
            Some(cgroup) => {
                let path = cgroup.path().join("cgroup.procs");
                let file = File::options().write(true).open(&path);
                Some(OwnedFd::from(file.with_context(|| format!("open {}", path.display()))?))
            }
            None => None,
        };
        let netns = match self.netns {
            Some(netns) => Some(File::open(netns.path()).context("open the network namespace")?),
            None => None,
        };
        let test = unistd::getpid();
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            for ignored in INHERITED {
                // SAFETY: the default disposition runs no code of ours.
                unsafe { signal(ignored, SigHandler::SigDfl) }?;
            }
            if unistd::getppid() != test {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if let Some(procs) = &procs {
                unistd::write(procs, b"0")?;
            }
            if let Some(netns) = &netns {
                setns(netns, CloneFlags::CLONE_NEWNET)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

/// A running program whose standard input and output are pipes to the test.
///
/// It is killed and reaped when dropped, and killed by the kernel when *the thread that started
/// it* ends (`PR_SET_PDEATHSIG`), so that a killed test leaves no process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    pub fn spawn(command: Command, place: Place<'_>) -> Result<Self> {
        Self::spawn_after(command, place, |_| {})
    }

    /// `prepare` gets the command when everything else that happens before its program is in it.
    pub fn spawn_after(
        mut command: Command,
        place: Place<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        place.apply(&mut command)?;
        prepare(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = mpsc::channel();
        // Reads ahead, so that a process never waits for the test to read.
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { child, stdin, lines })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("process ids fit in 22 bits"))
    }

    /// The next line of its standard output, waiting for it at most `within`.
    pub fn line(&self, within: Duration) -> Result<String> {
        self.lines.recv_timeout(within).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                anyhow::anyhow!("process {} printed nothing within {within:?}", self.pid())
            }
            RecvTimeoutError::Disconnected => {
                anyhow::anyhow!("process {} closed its standard output", self.pid())
            }
        })
    }

    /// What is left of its standard output, line by line; ends when it closes it.
    pub fn remaining_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.iter()
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let pid = self.pid();
        let stdin =
            self.stdin.as_mut().with_context(|| format!("process {pid}'s input is closed"))?;
        stdin.write_all(bytes).with_context(|| format!("write to process {pid}"))
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("send {signal} to process {}", self.pid()))
    }

    /// Waits until it exits, at most `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let give_up = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for a process")? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                bail!("process {} still runs after {within:?}", self.pid());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it is dead and reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
