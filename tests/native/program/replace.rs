//! `arm --replace`: what is armed changes in place.

use std::{net::SocketAddr, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeat, Repeated},
    machine::Shared,
    process::Place,
    victim::Victim,
};
use serde_json::Value;

use crate::daemon::{Daemon, PATIENCE, complaint, path};

struct Scene {
    daemon: Daemon,
    cgroup: TestCgroup,
    shared: Shared,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let shared = Shared::acquire()?;
        let directory = tempfile::tempdir()?;
        let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), &[])?;
        let cgroup = TestCgroup::new(&shared, "armed")?;
        Ok(Self { daemon, cgroup, shared, _directory: directory })
    }

    fn arm(&self, fault: &str, option: &[&str]) -> Result<Value> {
        let arm = ["arm", "--cgroup", path(&self.cgroup)?, "--fault", fault];
        self.daemon.json(&[&arm, option].concat())
    }

    /// The complaint of an `arm` that fails.
    fn refused(&self, cgroup: &TestCgroup, option: &str) -> Result<String> {
        let arm = ["arm", "--cgroup", path(cgroup)?, "--fault", "drop 1%", option];
        let output = self.daemon.verb(&arm)?;
        ensure!(!output.status.success(), "it was armed");
        Ok(complaint(&output))
    }
}

fn connect(repeat: Repeat) -> Call {
    let to = SocketAddr::from(([127, 0, 0, 1], 1));
    let what = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    Call { repeat, ..Call::new(what, 1) }
}

fn matched(report: &Value, fault: usize) -> u64 {
    report["faults"][fault]["counts"]["matched"].as_u64().unwrap_or_default()
}

#[test]
fn what_stays_goes_on_and_there_is_no_gap() -> Result<()> {
    const ALWAYS: &str = "fail connect with ENETDOWN to 127.0.0.0/8 for 10m";
    const DICE: &str = "fail 50% socket with EMFILE for 10m";
    let scene = Scene::new()?;
    let first = scene.arm(&format!("shadow {DICE}; {ALWAYS}"), &[])?;
    let id = first["id"].as_str().context("an id")?;
    // While every call is failed, what is armed changes again and again.
    let running = connect(Repeat::For(Duration::from_secs(2)));
    let victim = Victim::start(running, Place::here().cgroup(&scene.cgroup))?;
    let mut last = first.clone();
    for round in 0..20 {
        let other = format!("{ALWAYS}; shadow {DICE}; drop {}% egress udp", round + 1);
        last = scene.arm(&other, &["--replace"])?;
        assert_eq!(last["id"], first["id"]);
        sleep(Duration::from_millis(50));
    }
    let total = victim.report()?.total();
    assert_eq!(
        (total.failed_with("ENETDOWN"), total.ok),
        (total.failed(), 0),
        "{:?}",
        total.errors
    );
    let report = scene.daemon.json(&["show", id])?;
    assert_eq!(matched(&report, 0), total.failed(), "the counts go on");
    for (before, now) in [(0, 1), (1, 0)] {
        for same in ["began", "ends", "seed"] {
            assert_eq!(first["faults"][before][same], last["faults"][now][same], "{same}");
        }
    }
    assert_eq!(scene.daemon.ids()?, [id]);
    Ok(())
}

#[test]
fn what_is_replaced_must_be_plain() -> Result<()> {
    let scene = Scene::new()?;
    // Nothing is armed yet: armed anew, so a script can be run twice.
    let first = scene.arm("drop 1%", &["--replace"])?;
    assert_eq!(first["notes"], Value::Array(Vec::new()));
    let second = scene.arm("fail connect with EIO", &[])?;
    let note = second["notes"][0].as_str().context("a note")?;
    let [first, second] = [&first, &second].map(|armed| armed["id"].as_str().unwrap_or_default());
    assert!(note.contains(&format!("this cgroup also has {first} (`drop 1%`)")), "{note}");
    let refused = scene.refused(&scene.cgroup, "--replace")?;
    let both = format!("{first}, {second} are armed here");
    assert!(
        refused.contains(&both) && refused.contains(&format!("`--replace={first}`")),
        "{refused}"
    );
    scene.arm("drop 2%", &[&format!("--replace={first}")])?;
    let shown = scene.daemon.json(&["show", first])?;
    assert_eq!(
        (&shown["faults"][0]["fault"], shown["faults"].as_array().map(Vec::len)),
        (&Value::from("drop 2%"), Some(1))
    );
    // A mistake changes nothing.
    let elsewhere = TestCgroup::new(&scene.shared, "elsewhere")?;
    for (option, says) in [
        (
            format!("--replace={second}"),
            format!("{second} is armed on another cgroup; armed here: nothing"),
        ),
        ("--replace=cli:99".to_owned(), "cli:99 is not armed".to_owned()),
    ] {
        let refused = scene.refused(&elsewhere, &option)?;
        assert!(refused.contains(&says), "{refused}");
    }
    let output =
        scene.daemon.verb(&["arm", "--cgroup", path(&scene.cgroup)?, "--fault", "drop 200%"])?;
    ensure!(!output.status.success());
    let mut ids = scene.daemon.ids()?;
    ids.sort();
    assert_eq!(ids, [first, second]);
    Ok(())
}
