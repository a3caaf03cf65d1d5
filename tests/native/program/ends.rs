//! `until`, `as` and `guarded` outside of a cluster.

use std::{net::SocketAddr, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated},
    machine::Shared,
    process::Place,
    tally::Tally,
    victim::Victim,
};
use k8s_openapi::jiff::Timestamp;

use crate::daemon::{Daemon, PATIENCE, command, complaint, path};

fn connect(cgroup: &TestCgroup) -> Result<Tally> {
    let to = SocketAddr::from(([127, 0, 0, 1], 1));
    let what = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    Ok(Victim::run(Call::new(what, 20), Place::here().cgroup(cgroup))?.total())
}

#[test]
fn a_moment_ends_what_is_armed_under_a_name() -> Result<()> {
    const LASTS: Duration = Duration::from_secs(5);
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), &[])?;
    let cgroup = TestCgroup::new(&shared, "armed")?;
    let until = Timestamp::now() + LASTS;
    let faults = format!(
        "fail connect with ENETDOWN to 127.0.0.0/8 for 10m until {until}; shadow drop as other/name"
    );
    let arm = ["arm", "--cgroup", path(&cgroup)?, "--name", "run/slow", "--fault", &faults];
    let armed = daemon.json(&arm)?;
    let sentence = |index: usize| armed["faults"][index]["fault"].as_str().unwrap_or_default();
    assert!(sentence(0).ends_with(&format!(" for 10m until {until} as run/slow")), "{armed}");
    assert_eq!(sentence(1), "shadow drop as other/name");
    let [began, ends] =
        ["began", "ends"].map(|name| armed["faults"][0][name].as_u64().unwrap_or_default());
    let lasts = Duration::from_nanos(ends.saturating_sub(began));
    ensure!(lasts <= LASTS && lasts > LASTS / 2, "{lasts:?}");
    assert_eq!(connect(&cgroup)?.failed_with("ENETDOWN"), 20);
    let id = armed["id"].as_str().context("an id")?;
    // What stays is where it was, whatever it is armed beside.
    let changed =
        daemon.json(&[&arm[..6], &[&format!("{faults}; shadow drop"), "--replace"]].concat())?;
    for same in ["began", "ends"] {
        assert_eq!(changed["faults"][0][same], armed["faults"][0][same], "{same}");
    }
    for verb in [&["show", id][..], &["list"]] {
        let output = daemon.verb(verb)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("as run/slow"), "{text}");
    }
    sleep(LASTS);
    assert_eq!(connect(&cgroup)?.failed_with("ENETDOWN"), 0);
    let shown = daemon.json(&["show", id])?;
    assert_eq!(shown["faults"][0]["phase"], "ended", "{shown}");
    Ok(())
}

#[test]
fn what_is_over_or_has_no_guard_here_is_refused() -> Result<()> {
    let shared = Shared::acquire()?;
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), &[])?;
    let cgroup = TestCgroup::new(&shared, "armed")?;
    let path = path(&cgroup)?;
    for (fault, says) in [
        ("drop until 2026-01-01T00:00:00Z", "`until 2026-01-01T00:00:00Z` passed "),
        ("drop guarded", "known to the agent of a Kubernetes node alone"),
    ] {
        let arm = daemon.verb(&["arm", "--cgroup", path, "--fault", fault])?;
        let inject = command().args(["inject", "--cgroup", path, "--fault", fault]).output()?;
        let run = command().args(["run", "--fault", fault, "--", "true"]).output()?;
        for output in [arm, inject, run] {
            let complaint = complaint(&output);
            assert!(!output.status.success() && complaint.contains(says), "{complaint}");
            assert!(complaint.contains("help: "), "{complaint}");
        }
    }
    let output = daemon.verb(&["arm", "--cgroup", path, "--name", "Slow", "--fault", "drop"])?;
    assert!(complaint(&output).contains("not a name for a fault"), "{}", complaint(&output));
    assert_eq!(daemon.ids()?, Vec::<String>::new());
    Ok(())
}
