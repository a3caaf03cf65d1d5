//! A program that is to run as long as the node.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Where the kubelet serves logs from (`/logs` of its API).
const LOGS: &str = "/var/log";

/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 40;

pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let log = PathBuf::from(LOGS).join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().context("dup")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Self { name, child: child.with_context(|| format!("run {name}"))?, log })
    }

    /// Fails, with the log's end, when it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("wait for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log()),
        }
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}
