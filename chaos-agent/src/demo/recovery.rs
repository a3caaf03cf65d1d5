//! The agent killed in the middle of a fault.

use std::{thread, time::Duration};

use chaos_api::clock::boot_now;
use serde::Serialize;

use super::{
    DemoError, Hosts,
    injector::{Attempt, Injector},
    job::Job,
    process::Victim,
};

/// The fault meanwhile: nothing gets through.
pub const KILLED: &str = "drop udp";

const BEFORE: Duration = Duration::from_millis(500);
const MEANWHILE: Duration = Duration::from_secs(1);
const AFTERWARDS: Duration = Duration::from_millis(500);

/// What the client saw.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    pub answered: u64,
    pub lost: u64,
    /// From the kill to the first answer, in milliseconds.
    pub healthy_after_ms: f64,
}

/// Kills the agent while nothing gets through; how long the client stays broken. `Err` within, with the
/// agent's words, where the fault can't be armed here.
///
/// # Errors
/// When a process can't be started, or the client does not recover.
pub fn kill_the_agent(hosts: &Hosts) -> Result<Result<Recovery, String>, DemoError> {
    let ping = Job::Ping { to: hosts.echo, count: None, interval_us: 1_000, timeout_ms: 2 };
    let client = Victim::start(hosts.at_client(&hosts.client), &ping)?;
    thread::sleep(BEFORE);
    let injector = match Injector::start(hosts.client.cgroup(), KILLED)? {
        Attempt::Armed(injector) => injector,
        Attempt::Refused(refused) => return Ok(Err(refused)),
    };
    thread::sleep(MEANWHILE);
    let killed_at = boot_now();
    injector.kill()?;
    thread::sleep(AFTERWARDS);
    let seen = client.stop()?;
    let healthy_at = seen.healthy_at.filter(|moment| *moment >= killed_at);
    let healthy_at = healthy_at.ok_or(DemoError::NotHealthy { within: AFTERWARDS })?;
    Ok(Ok(Recovery {
        answered: seen.ok,
        lost: seen.failures(),
        healthy_after_ms: (healthy_at - killed_at) as f64 / 1e6,
    }))
}
