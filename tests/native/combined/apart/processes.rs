//! Processes that arm the same target: each is told what the other has armed, for as long as that lives
//! and renews its lease.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_api::{ArmedId, Outcome};
use chaos_engine::arm::{Armory, Request};
use chaos_plan::Terms;
use chaos_tests::{
    cgroup::TestCgroup,
    injector::parse,
    job::{UdpSend, UdpSink},
    process::{Place, Process},
    program, require,
    victim::Victim,
};
use nix::sys::signal::Signal;

use super::Scene;
use crate::{
    agent::{Agent, has_frames, target},
    death::Inject,
};

/// For whatever a process does, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const HELD: &str = "duplicate egress udp";
const MINE: &str = "duplicate every 2nd egress udp";

fn inject(cgroup: &TestCgroup, options: &[&str]) -> Result<Command> {
    let mut command = Command::new(program::agent()?);
    command.args(["inject", "--fault", HELD, "--cgroup"]).arg(cgroup.path()).args(options);
    Ok(command)
}

/// Arms and disarms again; the refusal, if there is one.
fn refusal(armory: &mut Armory, cgroup: &TestCgroup) -> Result<Option<String>> {
    let id = ArmedId("test:mine".to_owned());
    let target = target(cgroup)?;
    let (faults, terms) = (&parse(MINE)?, Terms::default());
    match armory.arm(Request { id: id.clone(), target, faults, terms, clock: &|_| None })? {
        Outcome::Armed(_) => {
            armory.disarm(&id, "it was a trial");
            Ok(None)
        }
        Outcome::Refused(plan) => bail!("{}", plan.refused[0]),
        Outcome::Occupied(occupied) => Ok(Some(occupied.refusals[0].to_string())),
    }
}

/// How many of the victim's datagrams arrive twice.
fn copies(scene: &Scene) -> Result<u64> {
    let sink = UdpSink { bind: scene.pair.server_end.socket_v4(0) };
    let sink = Victim::start(sink, scene.server())?;
    Victim::run(UdpSend::new(sink.address(), 10), scene.client())?;
    sleep(Duration::from_millis(20));
    Ok(sink.stop()?.duplicates())
}

/// Waits until nothing stands against it.
fn await_freedom(armory: &mut Armory, cgroup: &TestCgroup) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while let Some(refusal) = refusal(armory, cgroup)? {
        ensure!(Instant::now() < give_up, "it stays so: {refusal}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn another_process_is_named_until_it_ends_or_its_lease_does() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    let [inner, outer] = scene.targets("egress");
    let mut armory = Agent::new(&scene.pair.claim)?.armory;
    for ending in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSTOP] {
        let options = ["--lease", "1s", "--for", "10m"];
        let mut other = Inject::armed(inner, HELD, &options)?.process;
        let refusal = refusal(&mut armory, outer)?.context("nothing stands against it")?;
        let process = format!("process {} (chaos-agent inject) has armed `{HELD}`", other.pid());
        ensure!(refusal.contains(&process), "{refusal}");
        other.signal(ending)?;
        await_freedom(&mut armory, outer)?;
        other.signal(Signal::SIGKILL)?;
        other.wait(PATIENCE)?;
    }
    Ok(())
}

#[test]
fn whoever_comes_later_is_told_and_arms_nothing() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    let [inner, _] = scene.targets("egress");
    let agent = Agent::armed(&scene.pair.claim, inner, MINE)?;
    let output = inject(inner, &[])?.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{complaint}");
    ensure!(complaint.contains(&format!("has armed `{MINE}`")), "{complaint}");
    ensure!(complaint.contains(&format!("`{MINE}; {HELD}`")), "{complaint}");
    drop(agent);
    let mut armed = Process::spawn(inject(inner, &["--for", "1s"])?, Place::here())?;
    ensure!(armed.wait(PATIENCE)?.success(), "it is free again");
    Ok(())
}

#[test]
fn whoever_was_stopped_gives_way_to_what_was_armed_meanwhile() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    let [inner, outer] = scene.targets("egress");
    let options = ["--lease", "1s", "--for", "10m"];
    let mut stopped = Inject::armed(inner, HELD, &options)?.process;
    stopped.signal(Signal::SIGSTOP)?;
    let mut armory = Agent::new(&scene.pair.claim)?.armory;
    await_freedom(&mut armory, outer)?;
    let mut later = Inject::armed(outer, MINE, &["--for", "10m"])?.process;
    stopped.signal(Signal::SIGCONT)?;
    stopped.wait(PATIENCE)?;
    let refusal = refusal(&mut armory, inner)?.context("the later one has given way, too")?;
    ensure!(refusal.contains(&format!("process {} ", later.pid())), "{refusal}");
    later.signal(Signal::SIGKILL)?;
    later.wait(PATIENCE)?;

    // Where nobody came meanwhile it goes on.
    let mut stopped = Inject::armed(inner, HELD, &options)?.process;
    stopped.signal(Signal::SIGSTOP)?;
    await_freedom(&mut armory, outer)?;
    stopped.signal(Signal::SIGCONT)?;
    // Seen by what it does: whoever asks by arming is somebody who came meanwhile.
    let give_up = Instant::now() + PATIENCE;
    while copies(&scene)? == 0 {
        ensure!(Instant::now() < give_up, "it does not go on");
    }
    ensure!(self::refusal(&mut armory, outer)?.is_some(), "it is not named");
    stopped.signal(Signal::SIGKILL)?;
    stopped.wait(PATIENCE)?;
    Ok(())
}
