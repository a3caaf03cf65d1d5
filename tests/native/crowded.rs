//! A target with hundreds of interfaces, or dozens of network namespaces: its neighbours keep their faults
//! and their leases, who asks is answered, and an emergency stop stops everything at once.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    clock::boottime_ns,
    job::{Repeat, UdpEcho, UdpPing},
    machine::Quiet,
    netns::TestNetns,
    process::{Place, Process},
    require,
    victim::Victim,
};

use crate::{
    agent::{has_frames, has_line},
    daemon::{Daemon, path},
};

/// As many as take longer to serve than a lease lasts: 601 interfaces.
const PAIRS: usize = 300;

/// Some faults that need interfaces.
const FAULT: &str = "corrupt 1%";

/// How long the kernel may take to make them.
const SOON: Duration = Duration::from_secs(60);

/// Network namespaces in each of which a line has a device: to take all of them away at once takes longer
/// than the lease that the test gives lasts.
const NAMESPACES: usize = 60;

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

/// Somebody in the neighbourhood whose every packet is lost for as long as its lease is renewed.
struct Neighbour {
    id: String,
    ping: Victim<UdpPing>,
    _echo: Victim<UdpEcho>,
}

impl Neighbour {
    fn start(daemon: &Daemon, cgroup: &TestCgroup, netns: &TestNetns) -> Result<Self> {
        let place = Place::here().cgroup(cgroup).netns(netns);
        let echo = Victim::start(UdpEcho { bind: "127.0.0.1:0".parse()? }, place)?;
        let id = daemon.arm(cgroup, "drop egress udp")?;
        let ping = UdpPing {
            to: echo.address(),
            repeat: Repeat::UntilStopped,
            interval: Duration::from_millis(5),
            timeout: Duration::from_millis(20),
        };
        Ok(Self { id, ping: Victim::start(ping, place)?, _echo: echo })
    }

    /// That no packet has been spared until now, as for want of a lease.
    fn assert_lost_all(&self, daemon: &Daemon) -> Result<()> {
        let counts = daemon.json(&["show", &self.id])?["faults"][0]["counts"].take();
        assert!(counts["injected"].as_u64() > Some(0), "{counts}");
        assert!(counts["spared"]["lease"].is_null(), "the lease has lapsed: {counts}");
        Ok(())
    }
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
    let neighbour = Neighbour::start(&daemon, &neighbour, &netns)?;

    let mut crowds = [crowd(&before)?, crowd(&after)?];
    make(&mut crowds[0])?;
    let second = daemon.arm(&after, FAULT)?;
    let mut arming = daemon.spawn(&["arm", "--cgroup", path(&before)?, "--fault", FAULT])?;
    make(&mut crowds[1])?;
    for _ in 0..20 {
        // Whoever asks gives up some day.
        daemon.ids()?;
        sleep(Duration::from_millis(200));
    }
    ensure!(arming.wait(SOON)?.success());
    let noted = daemon.json(&["show", &second])?["notes"].to_string();
    assert!(noted.contains("do not act at"), "{noted}");

    neighbour.assert_lost_all(&daemon)?;

    let halting = boottime_ns();
    ensure!(daemon.spawn(&["halt"])?.wait(SOON)?.success());
    let answered = boottime_ns();
    sleep(Duration::from_millis(500));
    let pinged = neighbour.ping.stop()?;
    let healthy = pinged.timeline.iter().find(|span| span.is_ok()).context("no recovery")?;
    // Not once before, as if its lease had lapsed; and then from the first packet after the leases were
    // taken away on, while the agent still detaches from the crowds.
    assert!(healthy.first_at > halting, "the fault came and went: {:?}", pinged.timeline);
    let stopped = Duration::from_nanos(healthy.first_at - halting);
    println!("all stopped {stopped:?} after halt began");
    assert!(healthy.first_at < answered, "nothing stopped until all was cleaned up: {stopped:?}");
    ensure!(daemon.ids()?.is_empty());
    Ok(())
}

/// A process without rights in the cgroup, in a network namespace of its own.
fn stray(cgroup: &TestCgroup) -> Result<Process> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "unshare", "-Urn", "sh", "-c"]);
    command.arg("echo ready; exec cat");
    let process = Process::spawn(command, Place::here().cgroup(cgroup))?;
    ensure!(process.line(SOON)? == "ready");
    Ok(process)
}

#[test]
fn devices_of_a_line_come_and_go_and_delay_nobody() -> Result<()> {
    let quiet = Quiet::acquire()?;
    require!("a delay line", since 5, 8; has_line(&quiet));
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&quiet, &directory.path().join("agent.sock"), &["--lease", "2s"])?;
    let [neighbour, scattered] = ["neighbour", "scattered"].map(|it| TestCgroup::new(&quiet, it));
    let (neighbour, scattered) = (neighbour?, scattered?);
    let netns = TestNetns::new()?;
    let neighbour = Neighbour::start(&daemon, &neighbour, &netns)?;
    let descriptors = || -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", daemon.process.pid()))?.count())
    };
    let until = |what: &str, is_so: &dyn Fn() -> Result<bool>| {
        let give_up = Instant::now() + SOON;
        while !is_so()? {
            ensure!(Instant::now() < give_up, "{what}: not within {SOON:?}");
            sleep(Duration::from_millis(100));
        }
        Ok(())
    };

    let strays: Vec<Process> = (0..NAMESPACES).map(|_| stray(&scattered)).collect::<Result<_>>()?;
    let keeper = stray(&scattered)?;
    let before = descriptors()?;
    let id = daemon.arm(&scattered, "delay 5ms egress")?;
    until("all are served", &|| {
        let notes = daemon.json(&["show", &id])?["notes"].to_string();
        Ok(!notes.contains("do not act yet"))
    })?;
    neighbour.assert_lost_all(&daemon)?;
    let most = descriptors()?;
    assert!(most > before + 2 * NAMESPACES, "{most} descriptors, {before} before");

    drop(strays);
    until("the others are given up", &|| Ok(descriptors()? < before + NAMESPACES))?;
    // Longer than a lease that is not renewed.
    sleep(Duration::from_secs(2));
    neighbour.assert_lost_all(&daemon)?;
    drop(keeper);
    let pinged = neighbour.ping.stop()?;
    assert!(pinged.timeline.iter().all(|span| !span.is_ok()), "{:?}", pinged.timeline);
    Ok(())
}
