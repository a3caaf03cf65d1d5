//! Faults by an address that NAT in the target's own network namespace hides: what packets carry instead is
//! told, and that address is met.

use anyhow::{Context, Result};
use chaos_tests::job::{UdpEcho, UdpSend};
use chaos_tests::require;
use chaos_tests::victim::Victim;

use crate::agent::Agent;
use crate::nat;
use crate::pair::Pair;

/// A Service: an address that is nobody's.
const SERVICE: &str = "10.96.0.10:80";

#[test]
fn the_address_that_packets_carry_is_told() -> Result<()> {
    require!("iptables"; nat::works());
    let pair = Pair::new()?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let behind = echo.address();
    let rule =
        format!("-A OUTPUT -d 10.96.0.10 -p udp --dport 80 -j DNAT --to-destination {behind}");
    nat::change(&pair.client_netns, "iptables", &rule)?;
    // Or there is no way there.
    let mut route = pair.client_netns.command("ip");
    route.args(["route", "add", "10.96.0.0/16", "via", &behind.ip().to_string()]);
    assert!(route.status()?.success(), "{route:?}");

    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop udp to 10.96.0.10")?;
    let send = || Victim::run(UdpSend::new(SERVICE.parse()?, 5), pair.client());
    assert_eq!(send()?.total().ok, 5);
    let told = format!("write `to {} port {}`", behind.ip(), behind.port());
    // It looks every few seconds.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        agent.look()?;
        let report = agent.report(&pair.client_cgroup)?;
        assert_eq!(report.faults[0].counts.matched, 0, "NAT is in front of it");
        if report.notes.iter().any(|note| note.contains(&told)) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{told} is not in {report:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    // An agent that comes when connections are there tells it at once.
    drop(agent);
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop udp to 10.96.0.10 port 80")?;
    let notes = agent.report(&pair.client_cgroup)?.notes;
    let note = notes.iter().find(|note| note.contains(&told)).context("it is told at once")?;
    let (_, wanted) = note.split_once("write `").context("what to write")?;
    drop(agent);
    let fault = format!("drop udp {}", wanted.trim_end_matches('`'));
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    assert_eq!(send()?.total().ok, 5);
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 5, "{fault}");
    assert_eq!(agent.report(&pair.client_cgroup)?.notes, Vec::<String>::new());
    Ok(())
}
