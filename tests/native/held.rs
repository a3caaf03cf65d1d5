//! What all delay lines of an agent hold has one budget, and nobody else puts anything into them.

use std::{fs, io, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_plan::DelayLine;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{UdpDelays, UdpSend, UdpSink, UdpStamps},
    machine::{Claim, Quiet},
    netns::TestNetns,
    process::{Place, Process},
    require,
    victim::Victim,
};
use nix::libc;
use serde_json::Value;

use crate::{
    agent::{Agent, has_line, line},
    daemon::Daemon,
    pair::{Pair, idle},
};

/// Longer than any test.
const FAULT: &str = "delay 1m egress udp";

/// Bytes in a datagram that the loopback takes whole.
const LONG: usize = 60_000;

/// A target that talks to itself.
struct Flooder {
    cgroup: TestCgroup,
    netns: TestNetns,
    _idle: Process,
}

impl Flooder {
    fn new(claim: &impl Claim) -> Result<Self> {
        let (cgroup, netns) = (TestCgroup::new(claim, "flooder")?, TestNetns::new()?);
        let idle = idle(Place::here().cgroup(&cgroup).netns(&netns))?;
        Ok(Self { cgroup, netns, _idle: idle })
    }

    /// Sends so many long datagrams on its loopback.
    fn flood(&self, datagrams: u64) -> Result<()> {
        let place = Place::here().cgroup(&self.cgroup).netns(&self.netns);
        let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place)?;
        let interval = Duration::from_micros(500);
        let send = UdpSend { size: LONG, interval, ..UdpSend::new(sink.address(), datagrams) };
        let sent = Victim::run(send, place)?.total();
        let received = sink.stop()?.received;
        ensure!(received == 0, "{received} datagrams were not held");
        ensure!(sent.ok == datagrams, "{sent:?}");
        Ok(())
    }
}

#[test]
fn what_finds_no_room_is_lost_and_counted() -> Result<()> {
    const BUDGET: u64 = 24 << 20;
    const DATAGRAMS: u64 = 600;
    let quiet = Quiet::acquire()?;
    require!("a delay line", since 5, 8; has_line(&quiet));
    let mut agent = Agent::new(&quiet)?.holding(BUDGET);
    let flooders = [Flooder::new(&quiet)?, Flooder::new(&quiet)?, Flooder::new(&quiet)?];
    for flooder in &flooders {
        agent.arm(&flooder.cgroup, FAULT)?;
        agent.look()?;
    }
    let (mut held, mut lost) = (0, 0);
    for flooder in &flooders {
        flooder.flood(DATAGRAMS)?;
        agent.look()?;
        let counts = agent.counts(&flooder.cgroup, 0)?;
        assert_eq!(counts.matched, DATAGRAMS, "{counts:?}");
        assert_eq!(counts.injected + counts.lost, DATAGRAMS, "{counts:?}");
        held += counts.injected * LONG as u64;
        lost += counts.lost;
    }
    println!("{held} bytes held, {lost} datagrams lost");
    assert!((BUDGET / 4..=BUDGET).contains(&held), "{held} bytes held of {BUDGET}");
    assert!(lost > 0);
    // They make room for others when they are sent on.
    for flooder in &flooders {
        agent.arm(&flooder.cgroup, "delay 1ms egress udp")?;
    }
    drop(agent);
    Ok(())
}

#[test]
fn an_agent_with_the_memory_of_the_manifest_outlives_a_flood() -> Result<()> {
    let quiet = Quiet::acquire()?;
    require!("a delay line", since 5, 8; has_line(&quiet));
    require!("a memory controller of cgroup v1"; MemoryCgroup::new("probe", 1 << 30).map(drop));
    let manifest =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base/daemonset.yaml"));
    let (_, limits) = manifest.split_once("limits:").context("the manifest has limits")?;
    let limit = limits.lines().find_map(|line| line.trim().strip_prefix("memory: "));
    let limit = limit.and_then(|limit| limit.strip_suffix("Mi")).context("a limit in Mi")?;
    let memory = MemoryCgroup::new("manifest", limit.parse::<u64>()? << 20)
        .map_err(|reason| anyhow::anyhow!(reason))?;
    let directory = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&quiet, &directory.path().join("agent.sock"), &[])?;
    memory.take(&daemon.process)?;
    let flooders = [Flooder::new(&quiet)?, Flooder::new(&quiet)?, Flooder::new(&quiet)?];
    for flooder in &flooders {
        daemon.arm(&flooder.cgroup, FAULT)?;
    }
    // 280 MiB each.
    for flooder in &flooders {
        if let Err(error) = flooder.flood(5_000) {
            panic!("{error}: {}", daemon.json(&["list"])?);
        }
    }
    let mut lost = 0;
    for target in daemon.json(&["list"])?.as_array().into_iter().flatten() {
        let Value::Object(counts) = &target["faults"][0]["counts"] else {
            panic!("no counts: {target}");
        };
        lost += counts.get("lost").and_then(Value::as_u64).unwrap_or(0);
    }
    assert!(lost > 0, "nothing was lost");
    ensure!(daemon.process.wait(Duration::ZERO).is_err(), "the agent has ended");
    daemon.json(&["halt"])?;
    drop(daemon);
    Ok(())
}

/// A cgroup of the memory controller, whose hierarchy is another one on a hybrid machine.
struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    fn new(name: &str, limit: u64) -> Result<Self, String> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/memory/chaos-test-{name}"));
        let make = || -> io::Result<()> {
            fs::create_dir_all(&path)?;
            fs::write(path.join("memory.limit_in_bytes"), limit.to_string())
        };
        match make() {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn take(&self, process: &Process) -> Result<()> {
        let procs = self.0.join("cgroup.procs");
        fs::write(&procs, process.pid().to_string()).with_context(|| procs.display().to_string())
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        eprintln!("cgroup {} stays behind", self.0.display());
    }
}

#[test]
fn nobody_else_puts_frames_into_the_line() -> Result<()> {
    const FORGED: usize = 40_000;
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let directory = tempfile::tempdir()?;
    let daemon = Daemon::start(&pair.claim, &directory.path().join("agent.sock"), &[])?;
    let id = daemon.arm(&pair.client_cgroup, "delay 40ms egress udp")?;
    let before = resident(&daemon.process)?;
    let sent = pair.client_netns.run(|| forge(FORGED))??;
    ensure!(sent == FORGED, "{sent} of {FORGED} frames were sent");
    sleep(Duration::from_millis(300));
    let grown = resident(&daemon.process)?.saturating_sub(before);
    // They are 56 MB.
    assert!(grown < 16 << 10, "the agent has grown by {grown} KiB");

    let stamps = UdpStamps {
        to: pair.server_end.socket_v4(0),
        count: 50,
        flows: 1,
        interval: Duration::from_millis(2),
    };
    let delays = Victim::start(UdpDelays { bind: stamps.to }, pair.server())?;
    Victim::run(UdpStamps { to: delays.address(), ..stamps }, pair.client())?;
    sleep(Duration::from_millis(500));
    let all = delays.stop()?.milliseconds();
    assert_eq!(all.len(), 50, "{all:?}");
    assert!(all[0] >= 40.0, "{all:?}");
    let counts = &daemon.json(&["show", &id])?["faults"][0]["counts"];
    assert_eq!((&counts["matched"], &counts["injected"]), (&50.into(), &50.into()), "{counts}");
    // What waits in a queue is never read by the agent.
    println!("{:?}: grown by {grown} KiB", line(&pair.claim)?.unwrap_or(DelayLine::Tap));
    Ok(())
}

/// Memory that a process has, in KiB.
fn resident(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// Sends frames into the delay line of the calling thread's network namespace that look as if they were
/// to be held for ever, with every key that a label may have.
fn forge(frames: usize) -> Result<usize> {
    let device = nix::net::if_::if_nametoindex("chaos-line0").context("look for chaos-line0")?;
    // SAFETY: the call takes three integers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    ensure!(socket >= 0, "socket: {}", io::Error::last_os_error());
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = device as i32;
    let mut sent = 0;
    for number in 0..frames {
        // The key that labels once had, every second time.
        let key = if number % 2 == 0 { 0xc4a0 } else { (number * 65_536 / frames) as u16 };
        let mut frame = u64::MAX.to_ne_bytes().to_vec();
        frame.extend(key.to_ne_bytes());
        frame.extend([77, 0, 1, 0, 0, 0]);
        frame.extend([2; 12]);
        frame.extend([8, 0]);
        frame.resize(1400, 0);
        let (to, length) = (&raw const address, size_of_val(&address) as u32);
        // SAFETY: the buffer and the address are live, with their lengths.
        let answer = unsafe {
            libc::sendto(socket, frame.as_ptr().cast(), frame.len(), 0, to.cast(), length)
        };
        // Where a program drops it, the call says so or not.
        let dropped = io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
        sent += usize::from(answer > 0 || dropped);
    }
    // SAFETY: it is ours, and nobody else has it.
    unsafe { libc::close(socket) };
    Ok(sent)
}
