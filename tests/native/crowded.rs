//! A target with hundreds of interfaces: its neighbours keep their faults and their leases, who asks is
//! answered, and an emergency stop stops everything at once.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chaos_tests::cgroup::TestCgroup;
use chaos_tests::clock::boottime_ns;
use chaos_tests::job::{Repeat, UdpEcho, UdpPing};
use chaos_tests::machine::Quiet;
use chaos_tests::netns::TestNetns;
use chaos_tests::process::{Place, Process};
use chaos_tests::require;
use chaos_tests::victim::Victim;

use crate::agent::has_frames;
use crate::daemon::{Daemon, path};

/// As many as take longer to serve than a lease lasts: 601 interfaces.
const PAIRS: usize = 300;

/// Some faults that need interfaces.
const FAULT: &str = "corrupt 1%";

/// How long the kernel may take to make them.
const SOON: Duration = Duration::from_secs(60);

/// What a busy machine may need for what takes a moment. The agent used to need 10 s to 16 s.
const PROMPT: Duration = Duration::from_secs(5);

/// A process without rights in the cgroup, which makes a network namespace of its own and, when it is
/// told to, many interfaces in it.
fn crowd(cgroup: &TestCgroup) -> Result<Process> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "unshare", "-Urn", "sh", "-c"]);
    command.arg(format!(
        "echo ready; read go; \
         for i in $(seq {PAIRS}); do echo link add type veth; done | ip -batch - && echo made; cat"
    ));
    let process = Process::spawn(command, Place::here().cgroup(cgroup))?;
    ensure!(process.line(SOON)? == "ready");
    Ok(process)
}

fn make(crowd: &mut Process) -> Result<()> {
    crowd.write(b"go\n")?;
    ensure!(crowd.line(SOON)? == "made");
    Ok(())
}

#[test]
fn a_crowded_target_delays_nobody_and_halt_stops_all_at_once() -> Result<()> {
    let quiet = Quiet::acquire()?;
    require!("frames", since 4, 5; has_frames(&quiet));
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&quiet, &directory.path().join("agent.sock"), &["--lease", "5s"])?;
    let cgroups = ["neighbour", "before", "after"].map(|name| TestCgroup::new(&quiet, name));
    let [neighbour, before, after] = cgroups;
    let (neighbour, before, after) = (neighbour?, before?, after?);

    let netns = TestNetns::new()?;
    let place = Place::here().cgroup(&neighbour).netns(&netns);
    let echo = Victim::start(UdpEcho { bind: "127.0.0.1:0".parse()? }, place)?;
    daemon.arm(&neighbour, "drop egress udp")?;
    let ping = UdpPing {
        to: echo.address(),
        repeat: Repeat::UntilStopped,
        interval: Duration::from_millis(5),
        timeout: Duration::from_millis(20),
    };
    let ping = Victim::start(ping, place)?;

    let mut crowds = [crowd(&before)?, crowd(&after)?];
    make(&mut crowds[0])?;
    let second = daemon.arm(&after, FAULT)?;
    let mut arming = daemon.spawn(&["arm", "--cgroup", path(&before)?, "--fault", FAULT])?;
    make(&mut crowds[1])?;
    for _ in 0..20 {
        let asked = Instant::now();
        daemon.ids()?;
        let answered = asked.elapsed();
        assert!(answered < PROMPT, "list took {answered:?}");
        sleep(Duration::from_millis(200));
    }
    ensure!(arming.wait(SOON)?.success());
    let noted = daemon.json(&["show", &second])?["notes"].to_string();
    assert!(noted.contains("do not act at"), "{noted}");

    let halting = boottime_ns();
    let mut halt = daemon.spawn(&["halt"])?;
    sleep(PROMPT);
    ensure!(halt.wait(SOON)?.success());
    let pinged = ping.stop()?;
    let healthy = pinged.timeline.iter().find(|span| span.is_ok()).context("no recovery")?;
    // Not once before, as if its lease had lapsed; and then from the first packet after the leases were
    // taken away on.
    assert!(healthy.first_at > halting, "the fault came and went: {:?}", pinged.timeline);
    let stopped = Duration::from_nanos(healthy.first_at - halting);
    println!("all stopped {stopped:?} after halt began");
    assert!(stopped < PROMPT, "{stopped:?}");
    ensure!(daemon.ids()?.is_empty());
    Ok(())
}
