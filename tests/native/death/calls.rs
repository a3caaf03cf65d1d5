//! The same of calls that programs in the kernel answer.

use chaos_agent::plan::Backend;

use super::*;
use crate::agent::answers;

/// Fails every ping where it reads the answer.
const FAULT: &str = "fail recvfrom with EIO";

/// Answers that were not read stay in the socket's buffer: few enough must come for it to hold them.
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn calls_of_a_killed_agent_heal() -> Result<()> {
    const RECOVERY: Duration = Duration::from_millis(100);
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("fmod_ret on security functions"; answers(&pair.claim, Backend::Security));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = start_ping_every(INTERVAL, &echo, pair.client())?;
    let namespaces = [&pair.client_netns, &pair.server_netns];
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    let mut killed = Vec::new();
    for _ in 0..5 {
        let mut agent = Inject::armed(&pair.client_cgroup, FAULT, &[])?;
        sleep(2 * INTERVAL);
        killed.push(boottime_ns());
        agent.process.signal(Signal::SIGKILL)?;
        agent.process.wait(SOON)?;
        sleep(RECOVERY);
        before.settle(&pair.claim, &namespaces, SOON)?.assert_empty();
    }
    let pinged = ping.stop()?;
    for moment in killed {
        let took = recovery(&pinged, moment)?;
        println!("healthy after {took:?}");
        assert!(took <= RECOVERY.max(precision()), "{took:?}");
    }
    Ok(())
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
