//! The same of frames that are held: they wait in the agent, or in a queue of the kernel.

use chaos_plan::DelayLine;

use super::*;
use crate::agent::{has_line, line};

/// Longer than any ping waits.
const FAULT: &str = "delay 10s egress udp";

/// What a stopped agent is given for being silent, and what it takes to be seen.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn frames_pass_when_the_agent_is_killed_and_its_device_is_gone() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let ping = start_ping(&echo, pair.client())?;
    kill_again_and_again(&pair, FAULT, 4 * ping_timeout(), ping)
}

#[test]
fn frames_pass_while_the_agent_is_stopped() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    // A queue of the kernel needs nobody, and ends with the lease. A reader is missed long before.
    let (lease, silence, reason) = match line(&pair.claim)? {
        Some(DelayLine::Fq) => ("1s", Duration::from_secs(1) + SILENCE, "lease"),
        _ => ("1m", SILENCE, "unfit"),
    };
    let agent = Inject::armed(&pair.client_cgroup, FAULT, &["--lease", lease])?;
    let ping = start_ping(&echo, pair.client())?;
    sleep(SILENCE);
    let stopped = boottime_ns();
    agent.process.signal(Signal::SIGSTOP)?;
    sleep(3 * silence);
    agent.process.signal(Signal::SIGCONT)?;
    let continued = boottime_ns();
    sleep(SILENCE);
    agent.process.signal(Signal::SIGTERM)?;
    let report = agent.printed()?;
    sleep(2 * ping_timeout());
    let pinged = ping.stop()?;
    let took = recovery(&pinged, stopped)?;
    println!("healthy {took:?} after SIGSTOP");
    assert!(took <= silence.max(precision()), "{took:?}");
    let outcomes: Vec<bool> = pinged.timeline.iter().map(PingSpan::is_ok).collect();
    assert_eq!(outcomes, [false, true, false, true], "{:?}", pinged.timeline);
    let resumed = Duration::from_nanos(pinged.timeline[2].first_at.saturating_sub(continued));
    assert!(resumed <= SILENCE, "{resumed:?}");
    let counts = &report.faults[0].counts;
    assert_eq!(counts.lost, 0, "{counts:?}");
    // One ping may be waiting when its frame is sent on at the end.
    assert!((0..=1).contains(&(counts.injected - pinged.failed())), "{counts:?}");
    assert!(counts.spared[reason] > 0, "{counts:?}");
    assert_eq!(counts.imbalance(), 0);
    Ok(())
}

#[test]
fn frames_are_sent_on_when_the_agent_is_told_to_end() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let namespaces = [&pair.client_netns, &pair.server_netns];
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let agent = Inject::armed(&pair.client_cgroup, FAULT, &[])?;
        let sent = Victim::run(UdpSend::new(echo.address(), 100), pair.client())?.total();
        agent.process.signal(signal)?;
        let report = agent.printed()?;
        let counts = &report.faults[0].counts;
        assert_eq!((sent.ok, counts.injected, counts.lost), (100, 100, 0), "{counts:?}");
        before.settle(&pair.claim, &namespaces)?.assert_empty();
    }
    assert_eq!(echo.stop()?.received, 200);
    Ok(())
}
