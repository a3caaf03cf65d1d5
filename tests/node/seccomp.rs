//! A call that these kernels let no program answer, in a pod under our seccomp profile.

use std::{thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_kube::PodPhase;
use chaos_tests::{
    job::{Calls, Job, KillSignal, Repeated, TcpServe},
    node::Deployment,
};
use libtest_mimic::Completion;

use crate::{
    Test,
    scene::{
        MAIN, Scene, TCP, any, break_pod, hangman, heal_pod, injected, is_hit, to_agent, try_break,
    },
};

pub const TESTS: &[(&str, Test)] =
    &[("seccomp::fsync_fails_until_the_agent_is_killed", fsync_fails_until_the_agent_is_killed)];

/// The profile that `manifests/seccomp` has.
const PROFILE: &str = "chaos-agent.json";

/// How long calls are watched that nobody is to break any longer.
const A_WHILE: Duration = Duration::from_secs(5);

const FAULT: &str = "fail fsync with EIO every 2nd";

fn fsync_fails_until_the_agent_is_killed(scene: &Scene) -> Result<Completion> {
    let lacking = try_break(&scene.till, FAULT)?;
    ensure!(lacking.phase == PodPhase::Waiting, "without the profile: {lacking:#?}");
    heal_pod(&scene.till)?;

    scene.node.deploy_agent_with("seccomp")?;
    let containers = vec![(MAIN, Job::from(TcpServe { bind: any(TCP) }))];
    let safe = scene.shop.deploy(&Deployment::new("safe", containers).under(PROFILE))?;
    let calls = Calls { what: vec![Repeated::Fsync], interval: Duration::from_millis(5) };

    let job = safe.start(MAIN, calls.clone())?;
    let armed = break_pod(&safe, FAULT)?;
    ensure!(armed.phase == PodPhase::Armed, "{armed:#?}");
    safe.await_status(is_hit)?;
    let ended = heal_pod(&safe)?;
    let seen = job.stop()?.total();
    eprintln!("{FAULT}: {} of {}", seen.failed(), seen.attempts());
    ensure!(
        seen.failed_with("EIO") == injected(&ended) && seen.failed() == injected(&ended),
        "{seen:?}, {ended:#?}"
    );

    let hangman = hangman(scene)?;
    let job = safe.start(MAIN, calls)?;
    break_pod(&safe, FAULT)?;
    safe.await_status(is_hit)?;
    let killed = hangman.run(MAIN, to_agent(KillSignal::End))?;
    ensure!(killed.processes == 1, "{} agents were killed", killed.processes);
    sleep(A_WHILE);
    let seen = job.stop()?.total();
    ensure!(seen.failed() == seen.failed_with("EIO"), "the calls met something else: {seen:?}");
    let (ok, failed) = seen.last_ok_at.zip(seen.last_error_at).context("both happened")?;
    ensure!(failed < killed.at + A_WHILE.as_nanos() as u64 / 2, "not healed: {seen:?}");
    ensure!(ok > killed.at + A_WHILE.as_nanos() as u64 / 2, "calls came to a halt: {seen:?}");
    safe.annotate(None)?;
    scene.node.deploy_agent()?;
    Ok(Completion::Completed)
}
