//! Server processes.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::Pid;

use crate::{
    netns::TestNetns,
    process::{Place, Process},
};

/// Lines of a server's log that an error shows.
const LOG_TAIL: usize = 15;

/// A program that serves as long as it runs.
#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub command: Command,
    /// What it prints is appended to this file.
    pub log: PathBuf,
}

/// Running servers, owned by a thread of their own: the kernel kills a process when the *thread*
/// that started it ends, and a test may hand its servers to another thread.
#[derive(Debug)]
pub struct Servers {
    pids: Vec<Pid>,
    logs: Vec<PathBuf>,
    /// Says that a server ended.
    ended: Mutex<Receiver<String>>,
    /// Closed to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Starts all, without waiting until they are ready.
    pub fn start(servers: Vec<Server>, netns: Option<&TestNetns>) -> Result<Self> {
        let logs = servers.iter().map(|server| server.log.clone()).collect();
        let netns = netns.map(TestNetns::try_clone).transpose()?;
        let (started, starting) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let own = move || {
            let place = netns.iter().fold(Place::here(), Place::netns);
            let start = |server| Running::start(server, place);
            match servers.into_iter().map(start).collect::<Result<Vec<_>>>() {
                Ok(mut servers) => {
                    let pids = servers.iter().map(|server| server.process.pid()).collect();
                    // The receivers are gone only if the guard is, and then this ends as well.
                    let _ = started.send(Ok(pids));
                    watch(&mut servers, &stopped, &end);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        };
        let thread = thread::Builder::new().name("servers".to_owned()).spawn(own)?;
        let pids = starting.recv().map_err(|_| anyhow!("the servers' thread ended"))??;
        Ok(Self { pids, logs, ended: Mutex::new(ended), stop: Some(stop), thread: Some(thread) })
    }

    pub fn pids(&self) -> &[Pid] {
        &self.pids
    }

    /// Polls `is_ready`. Fails when a server ends, or after `patience`.
    pub fn wait_until_ready(&self, patience: Duration, is_ready: impl Fn() -> bool) -> Result<()> {
        let give_up = Instant::now() + patience;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if is_ready() {
                return Ok(());
            }
            if let Ok(what) = ended.recv_timeout(Duration::from_millis(300)) {
                bail!("{what}{}", self.log_tails());
            }
            if Instant::now() > give_up {
                bail!("not ready after {patience:?}{}", self.log_tails());
            }
        }
    }

    fn log_tails(&self) -> String {
        let tail = |path: &PathBuf| {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
            format!("\n{}:\n{last}", path.display())
        };
        self.logs.iter().map(tail).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; unwinding it has killed the servers.
            let _ = thread.join();
        }
    }
}

struct Running {
    name: &'static str,
    process: Process,
    log: File,
    is_reported: bool,
}

impl Running {
    fn start(server: Server, place: Place<'_>) -> Result<Self> {
        let Server { name, mut command, log } = server;
        let log = File::options().create(true).append(true).open(&log);
        let log = log.with_context(|| format!("open the log of {name}"))?;
        command.stderr(log.try_clone().context("dup")?);
        Ok(Self { name, process: Process::spawn(command, place)?, log, is_reported: false })
    }

    fn keep_output(&mut self) {
        while let Ok(line) = self.process.line(Duration::ZERO) {
            // It is for people who look for a reason; a full disk is one they find anyway.
            let _ = writeln!(self.log, "{line}");
        }
    }
}

/// Holds the servers until the guard is gone; they are killed when this returns.
fn watch(servers: &mut [Running], stopped: &Receiver<()>, end: &Sender<String>) {
    use mpsc::RecvTimeoutError::Timeout;
    while stopped.recv_timeout(Duration::from_millis(100)) == Err(Timeout) {
        for server in &mut *servers {
            server.keep_output();
            if !server.is_reported
                && let Ok(status) = server.process.wait(Duration::ZERO)
            {
                server.is_reported = true;
                server.keep_output();
                let _ = end.send(format!("{} ended: {status}", server.name));
            }
        }
    }
}
