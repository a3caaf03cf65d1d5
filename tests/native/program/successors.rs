//! `--follow`: faults go on where a unit is started again.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated, SocketKind},
    machine::Shared,
    process::{Place, Process},
    victim::Victim,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, PATIENCE, command, complaint};

const FAULT: &str = "fail socket with EMFILE every 2nd for 10m";
const CALLS: u64 = 10;

/// A slice in which a unit is started and stopped, as systemd makes and removes its cgroup.
struct Scene {
    slice: TestCgroup,
    unit: String,
    shared: Shared,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let shared = Shared::acquire()?;
        let slice = TestCgroup::new(&shared, "slice")?;
        let directory = tempfile::tempdir()?;
        let number = slice.path().file_name().and_then(|name| name.to_str()).context("a name")?;
        Ok(Self { unit: format!("{number}.service"), slice, shared, directory })
    }

    fn start(&self) -> Result<TestCgroup> {
        self.slice.child(&self.unit)
    }

    fn daemon(&self) -> Result<Daemon> {
        Daemon::start(&self.shared, &self.directory.path().join("agent.sock"), &["--lease", "1s"])
    }

    /// Starts the unit and an injection into it that follows, and stops the unit once the fault is seen there.
    fn inject_until_the_unit_is_stopped(&self) -> Result<Process> {
        let first = self.start()?;
        let mut inject = command();
        inject.args(["inject", "--unit", &self.unit, "--fault", FAULT, "--follow"]);
        inject.args(["--lease", "1s", "--output", "json"]);
        let inject = Process::spawn(inject, Place::here())?;
        until("it is armed", || Ok(failing(&first)? == CALLS / 2))?;
        Ok(inject)
    }
}

fn failing(cgroup: &TestCgroup) -> Result<u64> {
    let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, CALLS);
    Ok(Victim::run(call, Place::here().cgroup(cgroup))?.total().failed_with("EMFILE"))
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn what_is_armed_on_a_unit_is_armed_again_when_that_is_started_again() -> Result<()> {
    let scene = Scene::new()?;
    let daemon = scene.daemon()?;
    let first = scene.start()?;
    let armed = daemon.json(&["arm", "--unit", &scene.unit, "--fault", FAULT, "--follow"])?;
    let id = armed["id"].as_str().context("an id")?;
    assert_eq!(failing(&first)?, CALLS / 2);
    for _ in 0..2 {
        // Whoever was there first has gone by the end of each turn.
        drop(std::fs::remove_dir(first.path()));
        until("it is gone", || Ok(daemon.ids()?.is_empty()))?;
        let next = scene.start()?;
        until("it is armed again", || Ok(daemon.ids()? == [id]))?;
        assert_eq!(failing(&next)?, CALLS / 2);
        let report = daemon.json(&["show", id])?;
        for same in ["began", "ends", "seed", "fault"] {
            assert_eq!(report["faults"][0][same], armed["faults"][0][same], "{same}");
        }
        assert_eq!(report["faults"][0]["counts"]["injected"], Value::from(CALLS / 2));
        drop(next);
    }
    until("it is gone", || Ok(daemon.ids()?.is_empty()))?;

    // What waits can be disarmed, by its id as by `halt`.
    daemon.json(&["disarm", id])?;
    let back = scene.start()?;
    sleep(Duration::from_millis(500));
    assert_eq!((daemon.ids()?.len(), failing(&back)?), (0, 0));
    daemon.json(&["arm", "--unit", &scene.unit, "--fault", FAULT, "--follow"])?;
    drop(back);
    until("it is gone", || Ok(daemon.ids()?.is_empty()))?;
    daemon.json(&["halt"])?;
    let back = scene.start()?;
    sleep(Duration::from_millis(500));
    assert_eq!((daemon.ids()?.len(), failing(&back)?), (0, 0));
    Ok(())
}

#[test]
fn an_injection_goes_on_at_the_next_cgroup_of_a_unit() -> Result<()> {
    let scene = Scene::new()?;
    let mut inject = scene.inject_until_the_unit_is_stopped()?;
    let next = scene.start()?;
    until("it is armed again", || Ok(failing(&next)? == CALLS / 2))?;
    inject.signal(Signal::SIGINT)?;
    ensure!(inject.wait(PATIENCE)?.success());
    let lines: Vec<String> = inject.remaining_lines().collect();
    let printed = lines.join("\n");
    let ledgers: Vec<Value> =
        serde_json::Deserializer::from_str(&printed).into_iter().collect::<Result<_, _>>()?;
    ensure!(ledgers.len() == 2, "{printed}");
    for ledger in &ledgers {
        ensure!(ledger["faults"][0]["counts"]["injected"].as_u64() >= Some(CALLS / 2), "{printed}");
    }
    assert_eq!(ledgers[0]["seed"], ledgers[1]["seed"]);
    Ok(())
}

#[test]
fn an_injection_outlives_a_unit_that_ends_as_soon_as_it_is_started() -> Result<()> {
    const STARTS: usize = 200;
    let scene = Scene::new()?;
    let mut inject = scene.inject_until_the_unit_is_stopped()?;
    for _ in 0..STARTS {
        let short = scene.start()?;
        sleep(Duration::from_millis(5));
        drop(short);
    }
    let last = scene.start()?;
    until("the last one is armed", || Ok(failing(&last)? == CALLS / 2))?;
    inject.signal(Signal::SIGINT)?;
    ensure!(inject.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn what_has_another_id_afterwards_is_refused() -> Result<()> {
    let scene = Scene::new()?;
    let daemon = scene.daemon()?;
    let pid = std::process::id().to_string();
    let output = daemon.verb(&["arm", "--pid", &pid, "--fault", FAULT, "--follow"])?;
    ensure!(!output.status.success() && complaint(&output).contains("name its unit"));
    let container = "a".repeat(64);
    let mut inject = command();
    inject.args(["inject", "--container", &container, "--fault", FAULT, "--follow"]);
    let output = inject.output()?;
    ensure!(output.status.code() == Some(2) && complaint(&output).contains("as POD/CONTAINER"));
    Ok(())
}
