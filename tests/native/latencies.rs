//! Delays of several latencies: what the victim measures is spread as the list, or the file, says.

use std::{fmt::Write, fs, process::Command, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use chaos_tests::{
    clock::is_emulated,
    job::{UdpDelays, UdpStamps},
    machine::Shared,
    netns::TestNetns,
    process::{Place, Process},
    program, require,
    victim::{Victim, command_line, parse_report},
};

use crate::{
    agent::{Agent, has_line},
    pair::Pair,
};

const COUNT: u64 = 800;
const PATIENCE: Duration = Duration::from_secs(30);

/// How late the line may be, in milliseconds.
const LATE: f64 = 2.0;

/// That so many delays, sorted, have the distribution of these, which one sample in a hundred has not.
fn assert_distributed(what: &str, measured: &[f64], mut asked: Vec<f64>) {
    asked.sort_by(f64::total_cmp);
    let below = |values: &[f64], at: f64| {
        values.partition_point(|value| *value <= at) as f64 / values.len() as f64
    };
    let early = measured.iter().map(|at| below(measured, *at) - below(&asked, *at));
    let late = measured.iter().map(|at| below(&asked, *at - LATE) - below(measured, *at));
    let [early, late] = [early.fold(0.0, f64::max), late.fold(0.0, f64::max)];
    println!("{what}: {early:.3} of the packets are too early, {late:.3} too late");
    let most = 1.63 / (measured.len() as f64).sqrt();
    assert!(early < most, "{what}: {early} too early");
    assert!(late < most || is_emulated(), "{what}: {late} too late");
}

#[test]
fn each_is_picked_as_often_as_its_weight_says() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let receiver = UdpDelays { bind: pair.server_end.socket_v4(0) };
    let receiver = Victim::start(receiver, pair.server())?;
    let fault = "delay 2ms, 20ms*3, 60ms egress udp seed 4";
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let interval = Duration::from_millis(2);
    let stamps = UdpStamps { to: receiver.address(), count: COUNT, flows: 1, interval };
    Victim::run(stamps, pair.client())?;
    sleep(Duration::from_millis(200));
    let delays = receiver.stop()?;
    assert_eq!(delays.count(), COUNT, "{fault}");
    let asked = vec![2.0, 20.0, 20.0, 20.0, 60.0];
    assert_distributed(fault, &delays.milliseconds(), asked);
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, COUNT);

    // A list that stays, one that goes and others that come, as many as there may be.
    for round in 0..6 {
        let others = (0..3).map(|n| format!("; delay {}ms, 9s egress tcp", 1 + round * 3 + n));
        agent.arm(
            &pair.client_cgroup,
            &[fault.to_owned()].into_iter().chain(others).collect::<String>(),
        )?;
    }
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, COUNT);
    Ok(())
}

#[test]
fn a_file_is_read_where_the_command_is_typed() -> Result<()> {
    let shared = Shared::acquire()?;
    require!("a delay line", since 5, 10; has_line(&shared));
    let directory = tempfile::tempdir()?;
    // From 1 to 55 ms, most of them short.
    let measured: Vec<f64> =
        (0..300).map(|n| 1.0 + 54.0 * (f64::from(n) / 300.0).powi(3)).collect();
    let mut text = "# measured\n".to_owned();
    for latency in &measured {
        writeln!(text, "{latency:.3}ms")?;
    }
    fs::write(directory.path().join("latencies.txt"), text)?;

    let netns = TestNetns::new()?;
    let bind = "127.0.0.1:0".parse()?;
    let receiver = Victim::start(UdpDelays { bind }, Place::here().netns(&netns))?;
    let interval = Duration::from_millis(2);
    let stamps = UdpStamps { to: receiver.address(), count: COUNT, flows: 1, interval };
    let fault = "delay from file latencies.txt egress udp";
    let mut command = Command::new(program::agent()?);
    command.current_dir(directory.path()).args(["run", "--quiet", "--seed", "4"]);
    command.args(["--fault", fault, "--"]).args(command_line(stamps)?);
    let mut process = Process::spawn(command, Place::here().netns(&netns))?;
    process.line(PATIENCE).context("the victim is ready")?;
    let line = process.line(PATIENCE).context("the victim reports")?;
    assert_eq!(parse_report::<UdpStamps>(&line)?.sent, COUNT);
    assert!(process.wait(PATIENCE)?.success());
    let delays = receiver.stop()?;
    assert_eq!(delays.count(), COUNT, "{fault}");
    assert_distributed(fault, &delays.milliseconds(), measured);
    Ok(())
}
