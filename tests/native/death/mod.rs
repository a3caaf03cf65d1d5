//! What becomes of faults when the agent is killed, stopped or told to end.

mod calls;
mod line;

use std::{
    io::{BufRead, BufReader, PipeReader},
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chaos_api::TargetReport;
use chaos_plan::Hook;
use chaos_tests::{
    cgroup::TestCgroup,
    clock::{boottime_ns, is_emulated, precision},
    job::{PingSpan, Pinged, Repeat, UdpEcho, UdpPing, UdpSend},
    machine::Quiet,
    process::{Place, Process},
    program, require,
    residue::Snapshot,
    victim::Victim,
};
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::{agent::has, pair::Pair};

const MILLISECOND: u64 = 1_000_000;

const SOON: Duration = Duration::from_secs(30);

/// How long a ping waits for its echo: so long that none is late, so short that its end tells when a fault
/// ended.
fn ping_timeout() -> Duration {
    Duration::from_millis(if is_emulated() { 50 } else { 5 })
}

/// `chaos-agent inject`, its faults in force.
pub struct Inject {
    pub process: Process,
    /// Open as long as it may have something to say.
    _said: BufReader<PipeReader>,
}

/// What it prints when it has ended.
#[derive(Deserialize)]
struct Printed {
    #[serde(flatten)]
    ledger: TargetReport,
}

impl Inject {
    fn start(target: &TestCgroup, faults: &str, options: &[&str]) -> Result<Starting> {
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        let mut command = Command::new(program::agent()?);
        command.args(["inject", "--output", "json", "--fault", faults, "--cgroup"]);
        command.arg(target.path()).args(options).stderr(writer);
        let process = Process::spawn(command, Place::here())?;
        Ok(Starting { process, said: BufReader::new(reader) })
    }

    pub fn armed(target: &TestCgroup, faults: &str, options: &[&str]) -> Result<Self> {
        Self::start(target, faults, options)?.wait_until_armed()
    }

    /// Waits until it has ended and reads what it printed.
    fn printed(mut self) -> Result<TargetReport> {
        let status = self.process.wait(SOON)?;
        ensure!(status.success(), "the agent ended with {status}");
        let json: Vec<String> = self.process.remaining_lines().collect();
        let printed: Printed = serde_json::from_str(&json.join("\n"))
            .with_context(|| format!("the agent printed {json:?}"))?;
        Ok(printed.ledger)
    }
}

/// An agent that has not said yet that it is ready.
struct Starting {
    process: Process,
    said: BufReader<PipeReader>,
}

impl Starting {
    fn wait_until_armed(mut self) -> Result<Inject> {
        let mut all = String::new();
        while self.said.read_line(&mut all).context("read what the agent says")? > 0 {
            if all.lines().last().is_some_and(|line| line.contains("armed for")) {
                return Ok(Inject { process: self.process, _said: self.said });
            }
        }
        bail!("the agent ended before it had armed anything: {all}")
    }
}

/// A process that pings as fast as its peer answers, until it is told to stop.
fn start_ping(echo: &Victim<UdpEcho>, place: Place<'_>) -> Result<Victim<UdpPing>> {
    start_ping_every(Duration::from_millis(1), echo, place)
}

fn start_ping_every(
    interval: Duration,
    echo: &Victim<UdpEcho>,
    place: Place<'_>,
) -> Result<Victim<UdpPing>> {
    let repeat = Repeat::UntilStopped;
    let ping = UdpPing { to: echo.address(), repeat, interval, timeout: ping_timeout() };
    Victim::start(ping, place)
}

/// How long after `moment` (ns of the boot clock), at which pings were lost, the first one was
/// sent that was answered.
fn recovery(pinged: &Pinged, moment: u64) -> Result<Duration> {
    let (before, after) =
        pinged.timeline.split_at(pinged.timeline.partition_point(|span| span.first_at <= moment));
    let then = before.last().context("nothing was sent before")?;
    ensure!(!then.is_ok(), "the victim was well at that moment");
    let healthy = after.iter().find(|span| span.is_ok()).context("the victim never recovered")?;
    Ok(Duration::from_nanos(healthy.first_at - moment))
}

/// Kills agents, each when its only fault has failed every ping for so long.
fn kill_again_and_again(
    pair: &Pair<Quiet>,
    fault: &str,
    while_broken: Duration,
    ping: Victim<UdpPing>,
) -> Result<()> {
    const RECOVERY: Duration = Duration::from_millis(100);
    let namespaces = [&pair.client_netns, &pair.server_netns];
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    let mut killed = Vec::new();
    for _ in 0..5 {
        let mut agent = Inject::armed(&pair.client_cgroup, fault, &[])?;
        sleep(while_broken);
        killed.push(boottime_ns());
        agent.process.signal(Signal::SIGKILL)?;
        agent.process.wait(SOON)?;
        before.settle(&pair.claim, &namespaces)?.assert_empty();
        sleep(RECOVERY);
    }
    let pinged = ping.stop()?;
    for moment in killed {
        let took = recovery(&pinged, moment)?;
        println!("healthy {took:?} after SIGKILL");
        assert!(took <= RECOVERY.max(precision()), "{took:?}");
    }
    Ok(())
}

/// Stops an agent for longer than its lease. Its only fault fails every ping.
fn stop_and_continue(pair: &Pair, fault: &str, ping: Victim<UdpPing>) -> Result<()> {
    const LEASE: Duration = Duration::from_secs(1);
    let agent = Inject::armed(&pair.client_cgroup, fault, &["--lease", "1s"])?;
    // Longer than the lease: while it works, it is renewed.
    sleep(LEASE + LEASE / 2);
    let stopped = boottime_ns();
    agent.process.signal(Signal::SIGSTOP)?;
    sleep(LEASE + LEASE / 2);
    let continued = boottime_ns();
    agent.process.signal(Signal::SIGCONT)?;
    sleep(LEASE);
    agent.process.signal(Signal::SIGTERM)?;
    let report = agent.printed()?;
    sleep(2 * ping_timeout());
    let pinged = ping.stop()?;

    let outcomes: Vec<bool> = pinged.timeline.iter().map(PingSpan::is_ok).collect();
    assert_eq!(outcomes, [true, false, true, false, true], "{:?}", pinged.timeline);
    let healthy = recovery(&pinged, stopped)?;
    let resumed = pinged.timeline[3].first_at.saturating_sub(continued);
    println!(
        "healthy {healthy:?} after SIGSTOP, broken {} ms after SIGCONT",
        resumed / MILLISECOND
    );
    assert!(healthy <= LEASE + precision(), "{healthy:?}");
    let counts = &report.faults[0].counts;
    assert_eq!(pinged.lost(), counts.injected, "{counts:?}");
    assert!(counts.spared["lease"] > 0, "{counts:?}");
    assert_eq!(counts.imbalance(), 0);
    Ok(())
}

#[test]
fn a_stopped_agent_loses_its_lease_and_a_continued_one_goes_on() -> Result<()> {
    let pair = Pair::new()?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let fault = format!("drop egress udp to port {}", echo.address().port());
    stop_and_continue(&pair, &fault, start_ping(&echo, pair.client())?)
}

/// Stops an agent before the deadline of its only fault, which fails every ping `for 1s`.
fn stop_before_the_deadline(pair: &Pair, fault: &str, ping: Victim<UdpPing>) -> Result<()> {
    let agent = Inject::armed(&pair.client_cgroup, fault, &["--lease", "1m"])?;
    agent.process.signal(Signal::SIGSTOP)?;
    sleep(Duration::from_millis(1_500));
    agent.process.signal(Signal::SIGCONT)?;
    let report = agent.printed()?;
    let pinged = ping.stop()?;
    let ends = report.faults[0].ends;
    let recovered = pinged.recovered_at().context("the victim never recovered")?;
    println!("the deadline was kept to {:+.3} ms", (recovered as f64 - ends as f64) / 1e6);
    let late = Duration::from_nanos(recovered.abs_diff(ends));
    assert!(late <= precision(), "{recovered} for {ends}");
    assert_eq!(pinged.lost(), report.faults[0].counts.injected);
    Ok(())
}

#[test]
fn a_deadline_is_kept_while_the_agent_is_stopped() -> Result<()> {
    let pair = Pair::new()?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let fault = format!("drop egress udp to port {} for 1s", echo.address().port());
    stop_before_the_deadline(&pair, &fault, start_ping(&echo, pair.client())?)
}

#[test]
fn an_agent_that_is_told_to_end_leaves_nothing_and_tells_what_it_did() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let namespaces = [&pair.client_netns, &pair.server_netns];
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let port = echo.address().port();
        let faults = format!("drop 30% egress udp to port {port}; corrupt ingress tcp");
        let agent = Inject::armed(&pair.client_cgroup, &faults, &[])?;
        let ping = UdpPing {
            to: echo.address(),
            repeat: Repeat::Times(100),
            interval: Duration::ZERO,
            timeout: ping_timeout(),
        };
        let pinged = Victim::run(ping, pair.client())?;
        agent.process.signal(signal)?;
        let report = agent.printed()?;
        let counts = &report.faults[0].counts;
        assert_eq!((counts.matched, counts.injected), (100, pinged.lost()), "{signal}");
        before.settle(&pair.claim, &namespaces)?.assert_empty();
    }
    Ok(())
}

/// Hundreds of agents.
mod repeated {
    use super::*;

    #[test]
    fn what_a_killed_agent_did_to_interfaces_ends_one_by_one() -> Result<()> {
        const TIMES: usize = 5;
        const RECOVERY: Duration = Duration::from_millis(100);
        /// The agent's default, which bounds every fault.
        const LEASE: Duration = Duration::from_secs(5);
        let pair = Pair::new()?;
        require!("tcx", since 6, 6; has(&pair.claim, Hook::TcxEgress));
        let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
        let port = echo.address().port();
        let corrupt = format!("corrupt silent udp port {port}");
        let drop = format!("drop udp port {port}; corrupt silent tcp");
        // A pod has lo and eth0; a node has many interfaces, and the kernel takes its time with each.
        for (more, fault, bound) in
            [(0, &corrupt, RECOVERY), (20, &drop, RECOVERY), (20, &corrupt, LEASE)]
        {
            if more > 0 && fault == &drop {
                let veth = |pair| format!("link add extra{pair} type veth peer name other{pair}\n");
                pair.client_netns.ip(&(0..more / 2).map(veth).collect::<String>())?;
            }
            let ping = start_ping(&echo, pair.client())?;
            let mut killed = Vec::new();
            for _ in 0..TIMES {
                let mut agent = Inject::armed(&pair.client_cgroup, fault, &[])?;
                sleep(2 * ping_timeout());
                killed.push(boottime_ns());
                agent.process.signal(Signal::SIGKILL)?;
                agent.process.wait(SOON)?;
                sleep(RECOVERY);
            }
            let pinged = ping.stop()?;
            for moment in killed {
                let took = recovery(&pinged, moment)?;
                println!("`{fault}`, lo, eth0 and {more} more: healthy after {took:?}");
                assert!(took <= bound, "{took:?} with {more} more interfaces");
            }
        }
        Ok(())
    }

    #[test]
    fn killed_agents_leave_nothing_behind_and_their_victims_recover() -> Result<()> {
        const ROUNDS: usize = 100;
        const RECOVERY: Duration = Duration::from_millis(100);
        let pair = Pair::with(Quiet::acquire()?)?;
        let neighbour_cgroup = TestCgroup::new(&pair.claim, "neighbour")?;
        let neighbour = Place::here().cgroup(&neighbour_cgroup).netns(&pair.client_netns);
        let bind = pair.server_end.socket_v4(0);
        let echo = Victim::start(UdpEcho { bind }, pair.server())?;
        let pings = [pair.client(), neighbour].map(|place| start_ping(&echo, place));
        let others = [
            "fail connect, bind with EACCES",
            "corrupt silent egress tcp",
            "fail sendto, socket with ENOBUFS",
            "corrupt ingress tcp",
            "fail getsockopt, setsockopt with EINVAL",
        ];
        let namespaces = [&pair.client_netns, &pair.server_netns];
        let before = Snapshot::take(&pair.claim, &namespaces)?;
        let mut killed = Vec::new();
        for round in 0..ROUNDS {
            let faults = format!(
                "drop udp port {}; {}",
                echo.address().port(),
                others[round % others.len()]
            );
            // Two at a time, one a CPU: most of an agent's short life goes into loading programs.
            let agents = [&pair.client_cgroup, &neighbour_cgroup]
                .map(|target| Inject::start(target, &faults, &[]));
            let mut armed = Vec::new();
            for agent in agents {
                armed.push(agent?.wait_until_armed()?);
            }
            sleep(2 * ping_timeout());
            killed.push(boottime_ns());
            for agent in &armed {
                agent.process.signal(Signal::SIGKILL)?;
            }
            for mut agent in armed {
                agent.process.wait(SOON)?;
            }
            let left = before.settle(&pair.claim, &namespaces)?;
            ensure!(left.is_empty(), "round {round} left something behind:\n{left}");
        }
        let mut recoveries = vec![Vec::new(); others.len()];
        for ping in pings {
            let pinged = ping?.stop()?;
            for (round, moment) in killed.iter().enumerate() {
                recoveries[round % others.len()].push(recovery(&pinged, *moment)?);
            }
        }
        for (other, recoveries) in others.iter().zip(&mut recoveries) {
            recoveries.sort_unstable();
            let [median, longest] =
                [recoveries.len() / 2, recoveries.len() - 1].map(|n| recoveries[n]);
            println!(
                "with `{other}`: {} agents, {median:?}, at most {longest:?}",
                recoveries.len()
            );
        }
        let longest = recoveries.into_iter().flatten().max().context("none was killed")?;
        println!("{} agents killed, the longest recovery took {longest:?}", 2 * ROUNDS);
        assert!(longest <= RECOVERY, "{longest:?}");
        Ok(())
    }
}
