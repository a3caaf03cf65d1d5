//! How often, from when, until when, how much at most, and in which order.

use std::time::Duration;

use anyhow::{Context, Result};
use chaos_plan::Hook;
use chaos_tests::{
    clock::precision,
    job::{Call, Repeat, Repeated, SocketKind, Sunk, UdpSend, UdpSink},
    process::Process,
    require,
    tally::Tally,
    victim::Victim,
};

use crate::{
    agent::{Agent, has},
    pair::Pair,
};

/// Sends datagrams on one flow from the client under its faults.
fn send(pair: &Pair, send: impl FnOnce(UdpSend) -> UdpSend) -> Result<(Tally, Sunk)> {
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let sent = Victim::run(send(UdpSend::new(sink.address(), 1_000)), pair.client())?.total();
    Ok((sent, sink.stop()?))
}

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

#[test]
fn every_nth_and_at_most_are_exact() -> Result<()> {
    let pair = Pair::new()?;
    let lost = |faults: &str| -> Result<Vec<u64>> {
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
        let (sent, mut sunk) = send(&pair, |send| send)?;
        let flow = sunk.flows.remove(&0).context("nothing arrived")?;
        let lost: Vec<u64> = flow.sequences.missing(sent.ok).iter().collect();
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, lost.len() as u64);
        Ok(lost)
    };
    assert_eq!(lost("drop every 7th egress udp")?, (6..1_000).step_by(7).collect::<Vec<u64>>());
    assert_eq!(lost("drop egress udp at most 7")?, (0..7).collect::<Vec<u64>>());
    assert_eq!(lost("drop the 3rd to the 6th egress udp")?, [2, 3, 4, 5]);
    assert_eq!(lost("drop the first 3 egress udp")?, [0, 1, 2]);
    assert_eq!(lost("drop from the 990th egress udp")?, (989..1_000).collect::<Vec<u64>>());
    let both = lost("drop every 3rd egress udp at most 4")?;
    assert_eq!(both, [2, 5, 8, 11]);
    Ok(())
}

#[test]
fn a_window_of_calls_is_exact() -> Result<()> {
    let pair = Pair::new()?;
    require!("`fail socket`", since 5, 18; has(&pair.claim, Hook::SockCreate));
    let failed = |window: &str| -> Result<Vec<u64>> {
        let fault = format!("fail socket with EMFILE {window}");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let call = Call::new(Repeated::Socket { kind: SocketKind::Udp4 }, 20);
        let failed = Victim::run(call, pair.client())?.lanes.swap_remove(0).failed;
        let failed: Vec<u64> = failed.iter().collect();
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, failed.len() as u64);
        Ok(failed)
    };
    assert_eq!(failed("the first 3")?, [0, 1, 2]);
    assert_eq!(failed("the 5th")?, [4]);
    assert_eq!(failed("from the 19th of calls")?, [18, 19]);
    Ok(())
}

#[test]
fn a_budget_is_exact_on_two_cpus() -> Result<()> {
    let pair = Pair::new()?;
    let fault = "drop 50% egress udp at most 1000";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let twice = |send| UdpSend { repeat: Repeat::Times(20_000), flows: 2, threads: 2, ..send };
    let (_, sunk) = send(&pair, twice)?;
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!((sunk.received, counts.injected), (19_000, 1_000), "{counts:?}");
    assert!(counts.spared["at-most"] > 0);
    Ok(())
}

#[test]
fn a_budget_per_second_is_spent_every_second() -> Result<()> {
    const BUDGET: u64 = 5;
    let pair = Pair::new()?;
    let fault = "drop egress udp at most 5 per second";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let paced = |send| UdpSend {
        repeat: Repeat::For(Duration::from_millis(2_500)),
        interval: Duration::from_millis(1),
        ..send
    };
    let (sent, sunk) = send(&pair, paced)?;
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!(sunk.received + counts.injected, sent.ok, "{counts:?}");
    let began = agent.report(&pair.client_cgroup)?.faults[0].began;
    let second = |at: Option<u64>| at.map(|at| (at - began) / SECOND).context("nothing was sent");
    let seconds = second(sent.last_ok_at)? - second(sent.first_ok_at)? + 1;
    assert!(seconds >= 3, "{seconds} seconds were touched");
    // The last one may have ended before its budget was spent.
    let possible = BUDGET * (seconds - 1) + 1..=BUDGET * seconds;
    assert!(possible.contains(&counts.injected), "{counts:?} in {seconds} seconds");
    Ok(())
}

#[test]
fn faults_begin_and_end_on_time_though_the_agent_does_nothing() -> Result<()> {
    let pair = Pair::new()?;
    // A second, for a victim that is slow to start.
    let fault = "fail socket with EMFILE after 1s for 500ms";
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let began = agent.report(&pair.client_cgroup)?.faults[0].began;
    let repeat = Repeat::For(Duration::from_millis(1_900));
    let what = Repeated::Socket { kind: SocketKind::Udp4 };
    let call = Call { what, repeat, threads: 1, interval: Duration::from_micros(100) };
    let total = Victim::run(call, pair.client())?.total();
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!(total.failed_with("EMFILE"), counts.injected);
    assert_eq!(total.ok, counts.spared["early"] + counts.spared["ended"], "{counts:?}");
    let moments = [
        ("first failure", total.first_error_at, began + SECOND),
        ("last failure", total.last_error_at, began + SECOND + SECOND / 2),
    ];
    for (what, seen, due) in moments {
        let seen = seen.context("no call failed")?;
        println!("{what}: {:+.3} ms", (seen as f64 - due as f64) / 1e6);
        assert!(
            Duration::from_nanos(seen.abs_diff(due)) <= precision(),
            "{what}: {seen}, due at {due}"
        );
    }
    let ended = agent.armory.tick();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].why.contains("time is up"), "{}", ended[0].why);
    assert!(agent.armory.is_empty());
    Ok(())
}

#[test]
fn rules_are_asked_in_order_until_one_hits() -> Result<()> {
    let pair = Pair::new()?;
    let faults = "shadow drop every 10th egress udp\n\
                  drop every 2nd egress udp\n\
                  drop every 2nd egress udp\n\
                  shadow drop egress udp\n\
                  drop every 5th egress udp to 10.200.0.2\n\
                  drop egress tcp";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let (_, sunk) = send(&pair, |send| send)?;
    let counted = |fault| -> Result<(u64, u64, u64)> {
        let counts = agent.counts(&pair.client_cgroup, fault)?;
        Ok((counts.matched, counts.injected, counts.shadowed))
    };
    let all = (0..6).map(counted).collect::<Result<Vec<_>>>()?;
    assert_eq!(
        all,
        [(1_000, 0, 100), (1_000, 500, 0), (500, 250, 0), (250, 0, 250), (250, 50, 0), (0, 0, 0)]
    );
    assert_eq!(sunk.received, 200);
    Ok(())
}

#[test]
fn faults_of_different_verbs_share_a_target() -> Result<()> {
    let pair = Pair::new()?;
    let faults = "fail sendto with ENOBUFS every 4th udp\n\
                  drop every 3rd egress udp\n\
                  corrupt silent every 5th egress udp";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let (sent, sunk) = send(&pair, |send| UdpSend { connected: false, ..send })?;
    let injected = (0..3)
        .map(|fault| Ok(agent.counts(&pair.client_cgroup, fault)?.injected))
        .collect::<Result<Vec<u64>>>()?;
    // A call that fails sends no packet, and a packet that is lost becomes no frame.
    assert_eq!(injected, [250, 250, 100]);
    assert_eq!(sent.failed_with("ENOBUFS"), 250);
    assert_eq!((sunk.received, sunk.corrupted), (500, 100));
    Ok(())
}

#[test]
fn a_target_that_vanishes_ends_its_faults_with_a_message() -> Result<()> {
    let pair = Pair::new()?;
    let target = pair.client_cgroup.child("pod")?;
    let path = target.path().to_owned();
    let place = pair.client().cgroup(&target);
    let _idle: Process = crate::pair::idle(place)?;
    let mut agent = Agent::armed(&pair.claim, &target, "drop 50% egress\ncorrupt 50% ingress")?;
    let send =
        UdpSend { repeat: Repeat::UntilStopped, ..UdpSend::new(pair.server_end.socket_v4(9), 0) };
    let _victim = Victim::start(send, place)?;
    std::thread::sleep(Duration::from_millis(50));
    assert!(agent.armory.tick().is_empty(), "the target is there");
    drop(target);
    assert!(!path.exists());
    let ended = agent.armory.tick();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].why.contains("cgroup is gone"), "{}", ended[0].why);
    let report = ended[0].report.as_ref().context("the last ledger is told")?;
    assert!(report.faults[0].counts.injected > 0, "{report:?}");
    assert!(agent.armory.is_empty());
    Ok(())
}
