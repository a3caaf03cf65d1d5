//! The agent killed in the middle of a fault.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail};
use chaos_tests::{
    clock::boottime_ns,
    job::{Repeat, UdpPing},
    victim::Victim,
};
use nix::sys::signal::Signal;

use crate::{
    agent::{Agent, Attempt},
    hosts::Hosts,
    print,
};

const FAULT: &str = "drop udp";

/// Kills the agent with SIGKILL while nothing gets through, and measures how long the client
/// stays broken.
pub fn kill_the_agent(program: &Path, hosts: &Hosts) -> Result<()> {
    print::fault("the agent is killed in the middle of it", FAULT);
    let ping = UdpPing {
        to: hosts.echo(),
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(1),
        timeout: Duration::from_millis(2),
    };
    let client = Victim::start(ping, hosts.at_client(&hosts.client))?;
    thread::sleep(Duration::from_millis(500));
    let Attempt::Armed(armed) = Agent::inject(program, &hosts.client, FAULT)? else {
        bail!("`{FAULT}` was refused");
    };
    thread::sleep(Duration::from_secs(1));
    let killed_at = boottime_ns();
    armed.signal(Signal::SIGKILL)?;
    thread::sleep(Duration::from_millis(500));
    let pinged = client.stop()?;
    let recovered_at = pinged.recovered_at().context("the client did not recover")?;
    let answered = format!("{} pings answered, {} lost", pinged.answered(), pinged.failed());
    let after = Duration::from_nanos(recovered_at.saturating_sub(killed_at));
    print::recovered(&answered, after);
    Ok(())
}
