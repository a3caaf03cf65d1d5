//! Network namespaces and interfaces of a target that come and go: each is served for what it is, not for
//! a number that it has from one before, and what is gone is given up.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_plan::Hook;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{UdpDelays, UdpSend, UdpSink, UdpStamps},
    machine::{Quiet, Shared},
    netns::TestNetns,
    process::{Place, Process},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has, has_frames, has_line},
    pair::Pair,
};

const DATAGRAMS: u64 = 20;

/// How long a process of the target may take to do what it is told.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_namespace_with_the_number_of_one_before_is_served() -> Result<()> {
    let shared = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&shared));
    let cgroup = TestCgroup::new(&shared, "reused")?;
    let mut agent = Agent::armed(&shared, &cgroup, "duplicate egress udp")?;
    let mut inodes = BTreeSet::new();
    let mut is_reused = false;
    for round in 0..20 {
        let netns = TestNetns::new()?;
        is_reused |= !inodes.insert(netns.inode()?);
        let place = Place::here().cgroup(&cgroup).netns(&netns);
        let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place)?;
        agent.look()?;
        Victim::run(UdpSend::new(sink.address(), DATAGRAMS), place)?;
        assert_eq!(sink.stop()?.received, 2 * DATAGRAMS, "round {round}");
        if is_reused && round > 3 {
            break;
        }
        drop(netns);
        // The kernel takes it away in its own time.
        sleep(Duration::from_millis(100));
    }
    // Before 6.6 the agent's filters keep a namespace for a while.
    ensure!(is_reused || has(&shared, Hook::TcxEgress).is_err(), "no number came twice");
    let counts = agent.counts(&cgroup, 0)?;
    assert_eq!(counts.matched, counts.injected, "{counts:?}");
    Ok(())
}

/// Of a namespace it is heard by its first socket: nobody looks after the target meanwhile.
#[test]
fn a_namespace_that_comes_is_served_at_once() -> Result<()> {
    let shared = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&shared));
    let cgroup = TestCgroup::new(&shared, "comes")?;
    let mut agent = Agent::armed(&shared, &cgroup, "duplicate egress udp")?;
    for round in 0..3 {
        let netns = TestNetns::new()?;
        let place = Place::here().cgroup(&cgroup).netns(&netns);
        let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place)?;
        agent.work_on_news(SOON)?;
        Victim::run(UdpSend::new(sink.address(), DATAGRAMS), place)?;
        assert_eq!(sink.stop()?.received, 2 * DATAGRAMS, "round {round}");
    }
    Ok(())
}

/// The server's end of the [wire](add_wire).
const SERVER_ON_WIRE: &str = "10.9.0.2:0";

/// Lays another veth between the ends of a pair, whose index is always the same.
fn add_wire(pair: &Pair) -> Result<()> {
    pair.client_netns.ip(&format!(
        "link add wire index 777 address 02:00:00:00:09:01 type veth \
         peer name wire address 02:00:00:00:09:02 netns {}\n\
         link set wire up\n\
         address add 10.9.0.1/24 dev wire\n\
         neighbour replace 10.9.0.2 lladdr 02:00:00:00:09:02 dev wire nud permanent\n",
        pair.server_netns.path().display()
    ))?;
    pair.server_netns.ip("link set wire up\naddress add 10.9.0.2/24 dev wire\n")
}

#[test]
fn an_interface_with_the_index_of_one_before_is_served() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "duplicate egress udp")?;
    for round in 0..3 {
        add_wire(&pair)?;
        agent.look()?;
        let sink = Victim::start(UdpSink { bind: SERVER_ON_WIRE.parse()? }, pair.server())?;
        Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?;
        assert_eq!(sink.stop()?.received, 2 * DATAGRAMS, "round {round}");
        pair.client_netns.ip("link del wire\n")?;
    }
    Ok(())
}

/// It is heard of: nobody looks after the target meanwhile.
#[test]
fn an_interface_that_comes_is_served_at_once() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "duplicate egress udp")?;
    agent.look()?;
    add_wire(&pair)?;
    agent.work_on_news(SOON)?;
    let sink = Victim::start(UdpSink { bind: SERVER_ON_WIRE.parse()? }, pair.server())?;
    Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?;
    assert_eq!(sink.stop()?.received, 2 * DATAGRAMS);
    Ok(())
}

#[test]
fn a_device_of_the_line_is_missed_where_it_was_taken_away_and_nowhere_else() -> Result<()> {
    const HELD: Duration = Duration::from_millis(40);
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "delay 40ms egress udp")?;
    // What a process without rights can do: a namespace in which it has them.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "unshare", "-Urn", "sh", "-c"]);
    command.arg(
        "echo ready; read go; ip link del chaos-line0 && echo taken away; \
         read go; ip link show chaos-line0 >/dev/null && echo made again; cat",
    );
    let mut hostile = Process::spawn(command, pair.client())?;
    ensure!(hostile.line(SOON)? == "ready");
    for (round, expected) in ["taken away", "made again"].into_iter().enumerate() {
        let give_up = Instant::now() + SOON;
        let answer = loop {
            agent.look()?;
            if round > 0 || line_devices(&hostile)? > 0 {
                hostile.write(b"go\n")?;
                break hostile.line(SOON)?;
            }
            ensure!(Instant::now() < give_up, "the namespace was not served");
        };
        assert_eq!(answer, expected);
        // The reader finds out by itself.
        sleep(Duration::from_millis(300));
        let stamps = UdpStamps {
            to: pair.server_end.socket_v4(0),
            count: 20,
            flows: 1,
            interval: Duration::from_millis(2),
        };
        let delays = Victim::start(UdpDelays { bind: stamps.to }, pair.server())?;
        Victim::run(UdpStamps { to: delays.address(), ..stamps }, pair.client())?;
        sleep(Duration::from_millis(500));
        let all = delays.stop()?.milliseconds();
        assert_eq!(all.len(), 20, "{all:?}");
        assert!(all[0] >= HELD.as_secs_f64() * 1e3, "{all:?}");
        agent.look()?;
    }
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!((counts.injected, counts.lost), (40, 0), "{counts:?}");
    Ok(())
}

/// How many devices of delay lines the process's network namespace has.
fn line_devices(process: &Process) -> Result<usize> {
    let devices = fs::read_to_string(format!("/proc/{}/net/dev", process.pid()))?;
    Ok(devices.matches("chaos-line").count())
}

mod repeated {
    use super::*;

    /// Each look finds others, and a moment after the last has gone nothing of them is left.
    #[test]
    fn namespaces_that_have_gone_leave_no_descriptor() -> Result<()> {
        const AT_ONCE: usize = 50;
        let quiet = Quiet::acquire()?;
        require!("a delay line", since 5, 8; has_line(&quiet));
        let cgroup = TestCgroup::new(&quiet, "churn")?;
        let mut agent = Agent::armed(&quiet, &cgroup, "delay 1ms egress udp")?;
        let netns = TestNetns::new()?;
        // With a socket each: without one, a namespace may wait for the next look that finds processes.
        let sink = || -> Result<_> { Ok(UdpSink { bind: "0.0.0.0:0".parse()? }) };
        let _stays = Victim::start(sink()?, Place::here().cgroup(&cgroup).netns(&netns))?;
        agent.look()?;
        let before = descriptors()?;
        let mut most = 0;
        for _ in 0..9 {
            let namespaces: Vec<TestNetns> =
                (0..AT_ONCE).map(|_| TestNetns::new()).collect::<Result<_>>()?;
            let processes = namespaces
                .iter()
                .map(|netns| Victim::start(sink()?, Place::here().cgroup(&cgroup).netns(netns)))
                .collect::<Result<Vec<_>>>()?;
            agent.look()?;
            drop(processes);
            drop(namespaces);
            most = most.max(descriptors()?);
        }
        assert!(most > before + AT_ONCE, "{most} descriptors, {before} before");
        // That a process has gone is noticed within seconds, and its namespace is kept for a few more.
        let give_up = Instant::now() + 2 * SOON;
        loop {
            agent.look()?;
            let now = descriptors()?;
            if now <= before {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{now} descriptors, {before} before");
            sleep(Duration::from_millis(200));
        }
    }

    fn descriptors() -> Result<usize> {
        Ok(fs::read_dir("/proc/self/fd")?.count())
    }
}
