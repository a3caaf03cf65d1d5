//! The same of calls that programs in the kernel answer.

use chaos_plan::Backend;

use super::*;
use crate::agent::answers;

/// Fails every ping where it reads the answer.
const FAULT: &str = "fail recvfrom with EIO";

/// Answers that were not read stay in the socket's buffer: few enough must come for it to hold them.
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn calls_of_a_killed_agent_heal() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("fmod_ret on security functions"; answers(&pair.claim, Backend::Security));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = start_ping_every(INTERVAL, &echo, pair.client())?;
    kill_again_and_again(&pair, FAULT, 2 * INTERVAL, ping)
}

#[test]
fn calls_of_a_stopped_agent_heal_when_its_lease_ends() -> Result<()> {
    let pair = Pair::new()?;
    require!("fmod_ret on security functions"; answers(&pair.claim, Backend::Security));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = start_ping_every(INTERVAL, &echo, pair.client())?;
    stop_and_continue(&pair, FAULT, ping)
}

#[test]
fn calls_heal_on_time_while_the_agent_is_stopped() -> Result<()> {
    let pair = Pair::new()?;
    require!("fmod_ret on security functions"; answers(&pair.claim, Backend::Security));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = start_ping_every(INTERVAL, &echo, pair.client())?;
    stop_before_the_deadline(&pair, &format!("{FAULT} for 1s"), ping)
}
