//! Signals to a program that it can't do anything about.

use std::fs;

use anyhow::{Context, Result};
use chaos_tests::{
    clock::boottime_ns,
    job::{Kill, KillSignal, Killed},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::stage::Stage;

pub fn send(options: &Kill, stage: &Stage) -> Result<Killed> {
    let signal = match options.signal {
        KillSignal::End => Signal::SIGKILL,
        KillSignal::Stop => Signal::SIGSTOP,
        KillSignal::Continue => Signal::SIGCONT,
    };
    stage.ready(None)?;
    let mut killed = Killed::default();
    for entry in fs::read_dir("/proc").context("list the processes")? {
        let name = entry.context("list the processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile has no name.
        let Ok(comm) = fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
        if comm.trim_end() == options.name {
            kill(Pid::from_raw(pid), signal).with_context(|| format!("kill {pid}"))?;
            killed = Killed { processes: killed.processes + 1, at: boottime_ns() };
        }
    }
    Ok(killed)
}
