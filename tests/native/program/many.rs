//! An agent with a hundred targets that is killed or stopped.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated, SocketKind, UdpSend, UdpSink},
    machine::Quiet,
    netns::TestNetns,
    process::{Place, Process},
    require,
    victim::Victim,
};
use nix::sys::signal::Signal;

use crate::{
    agent::has_frames,
    daemon::{Daemon, PATIENCE},
    ours::Ours,
    pair::idle,
};

/// What a killed agent has armed is off after this time: far sooner than its lease lapses.
const KILLED: Duration = Duration::from_secs(5);

const TARGETS: usize = 100;
const CALLS: u64 = 10;

struct Scene {
    cgroups: Vec<TestCgroup>,
    daemon: Daemon,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(claim: &Quiet) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("agent.sock");
        let daemon = Daemon::start(claim, &socket, &["--lease", "2s"])?;
        let cgroups = (0..TARGETS)
            .map(|number| TestCgroup::new(claim, &format!("target-{number}")))
            .collect::<Result<Vec<_>>>()?;
        for cgroup in &cgroups {
            daemon.arm(cgroup, "fail socket with EMFILE for 10m")?;
        }
        Ok(Self { cgroups, daemon, _directory: directory })
    }

    /// How many calls fail in each of some targets.
    fn failing(&self) -> Result<Vec<u64>> {
        let some = self.cgroups.iter().step_by(11);
        some.map(|cgroup| {
            let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, CALLS);
            Ok(Victim::run(call, Place::here().cgroup(cgroup))?.total().failed_with("EMFILE"))
        })
        .collect()
    }

    fn until(&self, failing: u64) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while self.failing()?.iter().any(|count| *count != failing) {
            ensure!(Instant::now() < give_up, "{:?}, not {failing} each", self.failing()?);
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

#[test]
fn all_targets_of_a_killed_agent_heal_and_nothing_stays() -> Result<()> {
    let claim = Quiet::acquire()?;
    let before = Ours::take()?;
    let scene = Scene::new(&claim)?;
    assert!(scene.failing()?.iter().all(|count| *count == CALLS));
    scene.daemon.process.signal(Signal::SIGKILL)?;
    scene.until(0)?;
    before.settle(PATIENCE)?;
    Ok(())
}

/// Targets with a network namespace each.
const NETWORKS: usize = 40;

/// Frames and calls of a killed agent's targets go on at once, although the kernel takes its programs off interfaces one by
/// one.
#[test]
fn frames_and_calls_of_a_killed_agent_go_on_at_once_and_nothing_stays() -> Result<()> {
    let claim = Quiet::acquire()?;
    require!("frames", since 4, 5; has_frames(&claim));
    let before = Ours::take()?;
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&claim, &directory.path().join("agent.sock"), &["--lease", "10s"])?;
    // Its links were made first, so they would be released last.
    let caller = TestCgroup::new(&claim, "caller")?;
    daemon.arm(&caller, "fail socket with EMFILE for 10m")?;
    let failing = || -> Result<u64> {
        let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, CALLS);
        Ok(Victim::run(call, Place::here().cgroup(&caller))?.total().failed_with("EMFILE"))
    };
    assert_eq!(failing()?, CALLS);
    let mut scenes = Vec::new();
    for number in 0..NETWORKS {
        let cgroup = TestCgroup::new(&claim, &format!("target-{number}"))?;
        let network = TestNetns::new()?;
        let idle = idle(Place::here().cgroup(&cgroup).netns(&network))?;
        daemon.arm(&cgroup, "corrupt egress udp for 10m")?;
        scenes.push((idle, network, cgroup));
    }
    let arrived = |some: &(Process, TestNetns, TestCgroup)| -> Result<u64> {
        let place = || Place::here().cgroup(&some.2).netns(&some.1);
        let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place())?;
        Victim::run(UdpSend::new(sink.address(), CALLS), place())?;
        sleep(Duration::from_millis(20));
        Ok(sink.stop()?.received)
    };
    for some in scenes.iter().step_by(13) {
        assert_eq!(arrived(some)?, 0);
    }
    daemon.process.signal(Signal::SIGKILL)?;
    // The last target first, whose programs are taken off last.
    let give_up = Instant::now() + KILLED;
    while failing()? > 0 || scenes.last().map(arrived).transpose()? != Some(CALLS) {
        ensure!(Instant::now() < give_up, "the lease is waited for");
    }
    for some in scenes.iter().rev().step_by(13) {
        assert_eq!(arrived(some)?, CALLS);
    }
    // Before 6.6 filters go with the networks that they are in.
    drop(scenes);
    before.settle(PATIENCE)?;
    Ok(())
}

#[test]
fn the_lease_of_all_targets_of_a_stopped_agent_lapses_and_is_given_again() -> Result<()> {
    let claim = Quiet::acquire()?;
    let scene = Scene::new(&claim)?;
    scene.daemon.process.signal(Signal::SIGSTOP)?;
    scene.until(0)?;
    scene.daemon.process.signal(Signal::SIGCONT)?;
    scene.until(CALLS)?;
    assert_eq!(scene.daemon.ids()?.len(), TARGETS);
    scene.daemon.json(&["halt"])?;
    assert!(scene.failing()?.iter().all(|count| *count == 0));
    Ok(())
}
