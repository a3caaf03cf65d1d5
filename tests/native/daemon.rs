//! `chaos-agent agent --standalone` as a process, and the verbs that talk to it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Claim,
    process::{Place, Process},
};
use serde_json::Value;

/// For a start, in which every hook is tried, and for each answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent. Dropping it kills it.
pub struct Daemon {
    pub process: Process,
    socket: PathBuf,
}

impl Daemon {
    /// Starts an agent and waits until it listens.
    pub fn start(claim: &impl Claim, socket: &Path, options: &[&str]) -> Result<Self> {
        Self::start_after(claim, socket, options, |_| {})
    }

    /// The same; `prepare` gets the command before it starts.
    pub fn start_after(
        _claim: &impl Claim,
        socket: &Path,
        options: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = command();
        command.args(["agent", "--standalone", "--output", "json", "--socket"]).arg(socket);
        command.args(options).env("CHAOS_LOG", "warn");
        let process = Process::spawn_after(command, Place::here(), prepare)?;
        let mut daemon = Self { process, socket: socket.to_owned() };
        let give_up = Instant::now() + PATIENCE;
        // A socket that a killed agent left refuses connections.
        while UnixStream::connect(socket).is_err() {
            if let Ok(status) = daemon.process.wait(Duration::ZERO) {
                bail!("the agent ended with {status}");
            }
            ensure!(Instant::now() < give_up, "the agent does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// Runs a verb against this agent.
    pub fn verb(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = command();
        command.args(arguments).arg("--socket").arg(&self.socket);
        command.output().with_context(|| format!("run {arguments:?}"))
    }

    /// What a verb that succeeds prints as JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.verb(&[arguments, &["--output", "json"]].concat())?;
        ensure!(output.status.success(), "{arguments:?}: {}", complaint(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Arms a cgroup; the id.
    pub fn arm(&self, cgroup: &TestCgroup, fault: &str) -> Result<String> {
        let report = self.json(&["arm", "--cgroup", path(cgroup)?, "--fault", fault])?;
        Ok(report["id"].as_str().context("a report has an id")?.to_owned())
    }

    /// The ids of everything that is armed.
    pub fn ids(&self) -> Result<Vec<String>> {
        let targets = self.json(&["list"])?;
        let ids = targets.as_array().into_iter().flatten().map(|target| &target["id"]);
        Ok(ids.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Starts a verb that goes on by itself.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = command();
        command.args(arguments).arg("--socket").arg(&self.socket);
        Process::spawn(command, Place::here())
    }

    pub fn talk(&self) -> Result<Talk> {
        Talk::begin(&self.socket)
    }
}

/// A client of the socket that says whatever it likes.
pub struct Talk {
    stream: BufReader<UnixStream>,
}

impl Talk {
    pub fn begin(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("connect to the agent")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Says these bytes, with a newline behind.
    pub fn say(&mut self, line: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(&[line, b"\n"].concat())?)
    }

    /// The next answer; `None` when the agent has hung up.
    pub fn hear(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("wait for an answer")? == 0 {
            return Ok(None);
        }
        let reply: Value = serde_json::from_str(&line)?;
        ensure!(reply["version"] == 1, "{line}");
        Ok(Some(reply["answer"].clone()))
    }

    pub fn ask(&mut self, line: &[u8]) -> Result<Value> {
        self.say(line)?;
        self.hear()?.context("the agent hung up")
    }
}

/// The agent's program, which cargo puts beside the tests' own.
pub fn command() -> Command {
    Command::new(Path::new(env!("CARGO_BIN_EXE_victim")).with_file_name("chaos-agent"))
}

pub fn path(cgroup: &TestCgroup) -> Result<&str> {
    cgroup.path().to_str().context("a test's cgroup has a UTF-8 path")
}

pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
