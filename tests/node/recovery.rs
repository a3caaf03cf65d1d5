//! The agent of the node dies or hangs in the middle of a fault, or the fault's time is over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chaos_kube::{PodPhase, Status};
use chaos_tests::{
    job::{KillSignal, PingSpan, Pinged, Repeat, UdpPing},
    node::Exec,
};
use libtest_mimic::Completion;

use crate::{
    Test,
    scene::{ECHO, MAIN, Scene, hangman, injected, is_hit, to_agent},
};

pub const TESTS: &[(&str, Test)] = &[
    (
        "recovery::an_agent_that_is_killed_heals_and_its_successor_resumes",
        an_agent_that_is_killed_heals_and_its_successor_resumes,
    ),
    (
        "recovery::an_agent_that_is_stopped_heals_by_its_lease",
        an_agent_that_is_stopped_heals_by_its_lease,
    ),
    ("recovery::a_fault_ends_at_its_deadline", a_fault_ends_at_its_deadline),
];

/// The agent's lease. Whoever heals within half of it does not need it; the promise for SIGKILL is
/// 100 ms on a machine that is not emulated. Times are printed.
const LEASE: Duration = Duration::from_secs(5);

/// What emulation on a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);

/// A fault that lasts longer than any test.
const LONG: &str = "10m";

fn an_agent_that_is_killed_heals_and_its_successor_resumes(scene: &Scene) -> Result<Completion> {
    let hangman = hangman(scene)?;
    let (ping, before) = broken(scene, LONG)?;
    let killed = hangman.run(MAIN, to_agent(KillSignal::End))?;
    ensure!(killed.processes == 1, "{} agents were killed", killed.processes);
    // The kubelet starts it anew, and it goes on with what it finds on the pod.
    let resumed = scene.till.await_status(|status| {
        status.faults.iter().any(|fault| fault.counted_since.is_some()) && is_hit(status)
    })?;
    goes_on(&before, &resumed)?;
    scene.heal_till()?;
    let pinged = ping.stop()?;
    let healed = healed_after(&pinged, killed.at)?;
    eprintln!("healed {:.1} ms after SIGKILL", healed.as_secs_f64() * 1000.0);
    ensure!(healed < LEASE / 2, "healed only after {healed:?}");
    Ok(Completion::Completed)
}

fn an_agent_that_is_stopped_heals_by_its_lease(scene: &Scene) -> Result<Completion> {
    let hangman = hangman(scene)?;
    let (ping, before) = broken(scene, LONG)?;
    let stopped = hangman.run(MAIN, to_agent(KillSignal::Stop))?;
    ensure!(stopped.processes == 1, "{} agents were stopped", stopped.processes);
    std::thread::sleep(LEASE + SLACK);
    let continued = hangman.run(MAIN, to_agent(KillSignal::Continue))?;
    ensure!(continued.processes == 1, "{} agents were continued", continued.processes);
    // No ping fails sooner than after its time-out: so many did not fail while the agent was stopped.
    let more = ((LEASE + SLACK).as_millis() / TIMEOUT.as_millis()) as u64;
    let enough = injected(&before) + more;
    let resumed = scene.till.await_status(|status| injected(status) > enough)?;
    goes_on(&before, &resumed)?;
    scene.heal_till()?;
    let pinged = ping.stop()?;
    let healed = healed_after(&pinged, stopped.at)?;
    eprintln!("healed {:.1} s after SIGSTOP", healed.as_secs_f64());
    ensure!(healed < LEASE + SLACK, "healed only after {healed:?}");
    Ok(Completion::Completed)
}

fn a_fault_ends_at_its_deadline(scene: &Scene) -> Result<Completion> {
    let (ping, _) = broken(scene, "4s")?;
    scene.till.await_status(|status| status.phase == PodPhase::Ended)?;
    let pinged = ping.stop()?;
    let (first, last) = pinged.first_failed_at().zip(pinged.last_failed_at()).context("pings")?;
    let lasted = Duration::from_nanos(last - first);
    eprintln!("broken for {:.2} s", lasted.as_secs_f64());
    ensure!(lasted < Duration::from_secs(4) + SLACK / 2, "it lasted {lasted:?}");
    ensure!(pinged.recovered_at().is_some(), "never healed: {:?}", pinged.timeline);
    scene.heal_till()?;
    Ok(Completion::Completed)
}

/// Wall clock and boot clock are not read in the same moment, and an emulated processor may be away in between. A
/// clock that is set again moves by the seconds that the fault has been in force.
const CLOCKS: Duration = Duration::from_secs(1);

/// When a ping is given up.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Pings of the till's pod to the store, till they are told to stop.
pub fn pings(scene: &Scene) -> Result<Exec<UdpPing>> {
    let ping = UdpPing {
        to: scene.store(ECHO),
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(5),
        timeout: TIMEOUT,
    };
    scene.till.start(MAIN, ping)
}

/// Breaks the pings of the till's pod for a time; they go on till they are told to stop.
fn broken(scene: &Scene, time: &str) -> Result<(Exec<UdpPing>, Status)> {
    let ping = pings(scene)?;
    let armed = scene.break_till(&format!("drop egress udp port {ECHO} for {time}"))?;
    ensure!(armed.phase == PodPhase::Armed, "{armed:#?}");
    Ok((ping, scene.till.await_status(is_hit)?))
}

/// Fails when the clock of the faults was set again.
pub fn goes_on(before: &Status, resumed: &Status) -> Result<()> {
    let end = |status: &Status| Some(status.until.as_ref()?.0);
    let (then, now) = end(before).zip(end(resumed)).context("a fault has an end")?;
    let moved = now.duration_since(then).unsigned_abs();
    ensure!(
        resumed.since == before.since && moved < CLOCKS,
        "its clock was set again: {before:#?} became {resumed:#?}"
    );
    Ok(())
}

/// From a moment in a broken time to the first ping that was answered behind it; afterwards pings
/// failed again.
fn healed_after(pinged: &Pinged, at: u64) -> Result<Duration> {
    let spans = &pinged.timeline;
    let is_later = |span: &&PingSpan| span.first_at >= at;
    let healed = spans.iter().find(|span| span.is_ok() && is_later(span));
    let healed = healed.with_context(|| format!("never healed: {spans:?}"))?;
    let broke_again = spans.iter().any(|span| !span.is_ok() && span.first_at > healed.first_at);
    ensure!(broke_again, "the fault was not resumed: {spans:?}");
    Ok(Duration::from_nanos(healed.first_at - at))
}
