//! Everything that can be failed, failed.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_plan::Backend;
use chaos_tests::{
    cgroup::TestCgroup,
    job::SYSCALLS,
    machine::Shared,
    process::{Place, Process},
    require,
};

use crate::{
    agent::{Agent, answers, features},
    syscalls::{Caller, answered, at_best, every_name},
};

/// As the issue of a machine that must stay up goes: so long does every call fail.
const STORM: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(10);

/// More calls than any machine makes in [`STORM`].
const ENDLESS: u64 = 1 << 40;
const COUNT: u64 = 50;

#[test]
fn a_machine_outlives_the_failure_of_every_call_of_a_target() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let features = at_best(features(&claim)?, Backend::Security);
    let calls = answered(&every_name(), &features, Backend::Security)?;
    println!("{} calls", calls.len());
    let [inside, neighbour_cgroup, outside] =
        ["target", "neighbour", "outside"].map(|name| TestCgroup::new(&claim, name));
    let (inside, neighbour_cgroup, outside) = (inside?, neighbour_cgroup?, outside?);
    let mut agent = Agent::with_features(features)?;
    agent.arm(&inside, &format!("fail {} with EIO", calls.join(", ")))?;

    let victims: Vec<Caller> = ["read", "openat", "mmap"]
        .map(|call| Caller::start(&[call], ENDLESS, &inside))
        .into_iter()
        .collect::<Result<_>>()?;
    let until = Instant::now() + STORM;
    let mut injected = 0;
    while Instant::now() < until {
        // Nobody else notices, and the agent answers.
        let others = Caller::start(&SYSCALLS, COUNT, &neighbour_cgroup)?.report(&outside)?.total();
        assert_eq!(others.failed(), 0, "{:?}", others.errors);
        let counts = agent.report(&inside)?.faults.swap_remove(0).counts;
        assert!(counts.injected > injected, "{counts:?}");
        injected = counts.injected;
        // A program that starts in the target fails, and ends.
        let mut started = Process::spawn(Command::new("true"), Place::here().cgroup(&inside))
            .context("start a program in the target");
        if let Ok(started) = &mut started {
            ensure!(!started.wait(SOON)?.success(), "a program ran without a single call");
        }
    }
    println!("{injected} calls failed");
    drop(agent);
    sleep(Duration::from_millis(50));
    let mut after = Process::spawn(Command::new("true"), Place::here().cgroup(&inside))?;
    ensure!(after.wait(SOON)?.success(), "a program fails after the storm");
    let calm = Caller::start(&SYSCALLS, COUNT, &inside)?.report(&outside)?.total();
    assert_eq!(calm.failed(), 0, "{:?}", calm.errors);
    drop(victims);
    Ok(())
}
