//! `fail` and `kill` of system calls by programs in the kernel.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_fault::Verb;
use chaos_plan::{Backend, KernelFeatures, Support, Terms, plan};
use chaos_tests::{
    cgroup::TestCgroup,
    injector::parse,
    job::{SYSCALLS, Syscalls},
    machine::{Claim, Shared},
    process::Place,
    require,
    stats::binomial_interval,
    tally::Attempts,
    victim::Victim,
};
use nix::sys::signal::Signal;

use crate::agent::{Agent, answers, features};

const COUNT: u64 = 200;
const SOON: Duration = Duration::from_secs(60);

/// A process that is in its cgroup for its calls alone: not while it starts, nor while it reports.
pub struct Caller {
    victim: Victim<Syscalls>,
}

impl Caller {
    pub fn start(calls: &[&str], count: u64, cgroup: &TestCgroup) -> Result<Self> {
        let calls = calls.iter().map(|call| (*call).to_owned()).collect();
        let victim = Victim::start(Syscalls { calls, count }, Place::here())?;
        let caller = Self { victim };
        caller.enter(cgroup)?;
        caller.victim.signal(Signal::SIGUSR1)?;
        Ok(caller)
    }

    fn enter(&self, cgroup: &TestCgroup) -> Result<()> {
        let path = cgroup.path().join("cgroup.procs");
        fs::write(&path, self.victim.pid().to_string()).context("move a victim")
    }

    /// The letter that proc_pid_stat(5) has for its state.
    fn state(&self) -> Result<char> {
        let path = format!("/proc/{}/stat", self.victim.pid());
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let (_, behind_name) = stat.rsplit_once(") ").context("a name in parentheses")?;
        behind_name.chars().next().context("a state")
    }

    fn reaches(&self, wanted: char) -> Result<()> {
        let give_up = Instant::now() + SOON;
        loop {
            let state = self.state()?;
            if state == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "a victim is in state {state}, not {wanted}");
            sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of its calls, and lets it report from `outside`.
    pub fn report(self, outside: &TestCgroup) -> Result<Attempts> {
        self.reaches('T')?;
        self.enter(outside)?;
        self.victim.signal(Signal::SIGCONT)?;
        self.victim.report()
    }
}

/// What a kernel can do that has no better backend than this one.
pub fn at_best(features: &KernelFeatures, backend: Backend) -> KernelFeatures {
    let better = Backend::ALL.into_iter().filter(|other| *other < backend);
    better.fold(features.clone(), |features, better| {
        let reason = "the test is about another one".to_owned();
        features.with(better, Support::Missing { reason, remedy: String::new() })
    })
}

/// The calls among `names` that this backend answers here.
pub fn answered(
    names: &[&'static str],
    features: &KernelFeatures,
    backend: Backend,
) -> Result<Vec<&'static str>> {
    let mut answered = Vec::new();
    for name in names {
        let plan = plan(&parse(&format!("fail {name} with EIO"))?, features, &Terms::default());
        let by_backend = |rule: &chaos_plan::PlannedRule| {
            rule.calls.iter().any(|call| call.name == *name && call.backend == backend)
        };
        if plan.rules.iter().any(by_backend) {
            answered.push(*name);
        }
    }
    Ok(answered)
}

/// Every call that there is.
pub fn every_name() -> Vec<&'static str> {
    syscalls::x86_64::Sysno::iter().map(|call| call.name()).collect()
}

/// Calls that do not need each other to clean up behind them.
fn groups() -> [Vec<&'static str>; 3] {
    // `unlink` stands for `unlinkat`, `mkdir` for `mkdirat`, `open` for `openat2`.
    let alone = ["mkdir", "open"];
    let rest =
        SYSCALLS.into_iter().filter(|name| !alone.contains(name) && *name != "unlink").collect();
    [rest, alone.into(), vec!["unlink"]]
}

/// Every call fails as often as the ledger says, with the errnos asked for, and nobody else's.
fn every_call_fails(backend: Backend, least: usize) -> Result<()> {
    let claim = Shared::acquire()?;
    let features = at_best(features(&claim)?, backend);
    let mut all = 0;
    for (group, errnos) in groups().into_iter().zip(["EDQUOT", "ENOSPC*3, EIO", "ENOMEM, EINTR"]) {
        let calls = answered(&group, &features, backend)?;
        all += calls.len();
        let [inside, neighbour_cgroup, outside] =
            [cgroup(&claim, "target")?, cgroup(&claim, "neighbour")?, cgroup(&claim, "outside")?];
        let mut agent = Agent::with_features(features.clone())?;
        let fault = format!("fail {} with {errnos} 30%", calls.join(", "));
        agent.arm(&inside, &fault)?;
        let caller = Caller::start(&calls, COUNT, &inside)?;
        let neighbour = Caller::start(&calls, COUNT, &neighbour_cgroup)?;
        let (seen, untouched) = (caller.report(&outside)?, neighbour.report(&outside)?);

        let (attempts, total) = (COUNT * calls.len() as u64, seen.total());
        let counts = agent.counts(&inside, 0)?;
        assert_eq!(untouched.total().ok, attempts, "{:?}", untouched.total().errors);
        for (call, lane) in calls.iter().zip(&seen.lanes) {
            let (low, high) = binomial_interval(COUNT, 0.3, 0.999_999);
            let failed = lane.tally.failed();
            assert!((low..=high).contains(&failed), "{call}: {failed} of {COUNT} failed");
        }
        assert_eq!(counts.injected, total.failed(), "{fault}");
        let (passed, skipped) = (attempts - counts.matched, skipped()?);
        assert!(passed <= skipped, "{fault}: {passed} calls were not seen, {skipped} skipped");
        let named: u64 = match &parse(&fault)?[0].verb {
            Verb::Fail { errnos, .. } => {
                errnos.iter().map(|choice| total.failed_with(choice.errno.name())).sum()
            }
            verb => panic!("{verb:?}"),
        };
        assert_eq!(named, total.failed(), "{:?}", total.errors);
        println!("{backend}: {} calls, {:?}", calls.len(), total.errors);
    }
    assert!(all >= least, "{backend} answers only {all} of {} calls", SYSCALLS.len());
    Ok(())
}

/// How often the kernel has skipped one of this process's programs. Where a task is preempted inside of one, what
/// comes to the same program on that processor meanwhile passes unasked: `recursion_misses` of bpf_prog_info
/// (<https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/trampoline.c>, `__bpf_prog_enter_recur`).
fn skipped() -> Result<u64> {
    let mut skipped = 0;
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // That of the directory itself is gone by then.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let misses = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
        skipped += misses.map_or(Ok(0), |misses| misses.trim().parse::<u64>())?;
    }
    Ok(skipped)
}

fn cgroup(claim: &impl Claim, name: &str) -> Result<TestCgroup> {
    TestCgroup::new(claim, name)
}

#[test]
fn calls_fail_at_their_entry() -> Result<()> {
    let claim = Shared::acquire()?;
    // CONFIG_FUNCTION_ERROR_INJECTION: no distribution kernel has it.
    require!("fmod_ret on system calls"; answers(&claim, Backend::Entry));
    drop(claim);
    every_call_fails(Backend::Entry, SYSCALLS.len())
}

#[test]
fn calls_fail_at_the_security_functions_that_they_pass() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    drop(claim);
    // All but fsync and fdatasync.
    every_call_fails(Backend::Security, SYSCALLS.len() - 2)
}

#[test]
fn every_fifth_call_fails_and_budgets_are_exact() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let [inside, outside] = [cgroup(&claim, "target")?, cgroup(&claim, "outside")?];
    let faults = "fail every 5th pread64 with EIO; fail truncate with ENOSPC at most 7";
    let agent = Agent::armed(&claim, &inside, faults)?;
    let seen =
        Caller::start(&["pread64", "truncate", "write"], COUNT, &inside)?.report(&outside)?;
    let failed: Vec<u64> = seen.lanes[0].failed.iter().collect();
    assert_eq!(failed, (4..COUNT).step_by(5).collect::<Vec<u64>>());
    let failed: Vec<u64> = seen.lanes[1].failed.iter().collect();
    assert_eq!(failed, (0..7).collect::<Vec<u64>>());
    assert_eq!(seen.lanes[2].tally.ok, COUNT);
    assert_eq!(agent.counts(&inside, 0)?.injected, COUNT / 5);
    assert_eq!(agent.counts(&inside, 1)?.injected, 7);
    Ok(())
}

#[test]
fn kill_kills_the_caller_alone() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let [inside, neighbour_cgroup, outside] =
        [cgroup(&claim, "target")?, cgroup(&claim, "neighbour")?, cgroup(&claim, "outside")?];
    let agent = Agent::armed(&claim, &inside, "kill every 10th of calls chmod")?;
    let neighbour = Caller::start(&["chmod"], COUNT, &neighbour_cgroup)?;
    let victim = Caller::start(&["chmod"], COUNT, &inside)?;
    victim.reaches('Z')?;
    let error = victim.victim.report().unwrap_err();
    println!("{error:#}");
    assert_eq!(neighbour.report(&outside)?.total().ok, COUNT);
    let counts = agent.counts(&inside, 0)?;
    assert_eq!((counts.matched, counts.injected), (10, 1));
    Ok(())
}

#[test]
fn a_deadline_ends_failing_calls_without_the_agent() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let [inside, outside] = [cgroup(&claim, "target")?, cgroup(&claim, "outside")?];
    let agent = Agent::armed(&claim, &inside, "fail truncate with EIO for 1s")?;
    sleep(Duration::from_millis(1_100));
    let seen = Caller::start(&["truncate"], COUNT, &inside)?.report(&outside)?.total();
    assert_eq!(seen.ok, COUNT, "{:?}", seen.errors);
    assert_eq!(agent.counts(&inside, 0)?.spared["ended"], COUNT);
    Ok(())
}
