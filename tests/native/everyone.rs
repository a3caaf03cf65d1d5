//! Many targets at once: each has its own dice, budgets and books, whoever else is busy.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chaos_plan::Hook;
use chaos_tests::{
    cgroup::TestCgroup,
    clock::is_emulated,
    job::{Call, Repeated, SocketKind},
    machine::Quiet,
    ordinals::Ordinals,
    process::Place,
    require,
    victim::Victim,
};

use crate::agent::{Agent, has};

/// About as many as an agent takes when it is not told another number.
const TARGETS: usize = 250;
/// Victims at a time: more than processors.
const AT_ONCE: usize = 8;
const CALLS: u64 = 1_000;
const SEEDS: usize = 5;

/// What a target is armed with, and what is to be seen of it.
enum Promise {
    /// The same calls fail as under any other target with this seed.
    Seed(usize),
    /// So many calls fail in all, of two threads.
    Hits(u64),
}

impl Promise {
    /// Of the target with this number.
    fn of(number: usize) -> Self {
        match number % 3 {
            0 => Self::Seed(number / 3 % SEEDS),
            1 => Self::Hits(100),
            _ => Self::Hits(CALLS / 5),
        }
    }

    fn fault(&self) -> String {
        let clause = match self {
            Self::Seed(seed) => format!("10% seed {seed}"),
            Self::Hits(100) => "at most 100".to_owned(),
            Self::Hits(_) => "every 5th".to_owned(),
        };
        format!("fail socket with EMFILE {clause}")
    }

    fn call(&self) -> Call {
        let threads = match self {
            // Which of two threads has the n-th call is not to be known.
            Self::Seed(_) => 1,
            Self::Hits(_) => 2,
        };
        Call { threads, ..Call::new(Repeated::Socket { kind: SocketKind::Udp4 }, CALLS) }
    }
}

#[test]
fn each_of_250_targets_keeps_its_own_dice_budgets_and_books() -> Result<()> {
    let claim = Quiet::acquire()?;
    require!("failing calls", since 5, 18; has(&claim, Hook::SockCreate));
    let mut agent = Agent::new(&claim)?.with_targets(TARGETS as u32);
    let cgroups = (0..TARGETS)
        .map(|number| TestCgroup::new(&claim, &format!("target-{number}")))
        .collect::<Result<Vec<_>>>()?;
    for (number, cgroup) in cgroups.iter().enumerate() {
        agent.arm(cgroup, &Promise::of(number).fault())?;
    }
    // Processes are slow to start where the processor is emulated.
    let step = if is_emulated() { 7 } else { 1 };
    let asked: Vec<usize> = (0..TARGETS).step_by(step).collect();
    let mut dice: BTreeMap<usize, Ordinals> = BTreeMap::new();
    for wave in asked.chunks(AT_ONCE) {
        let victims = wave
            .iter()
            .map(|&number| {
                let place = Place::here().cgroup(&cgroups[number]);
                Ok((number, Victim::start(Promise::of(number).call(), place)?))
            })
            .collect::<Result<Vec<_>>>()?;
        for (number, victim) in victims {
            let mut report = victim.report()?;
            let (promise, total) = (Promise::of(number), report.total());
            let failed = total.failed_with("EMFILE");
            let counts = agent.counts(&cgroups[number], 0)?;
            assert_eq!((counts.matched, counts.injected), (total.ok + failed, failed), "{number}");
            match promise {
                Promise::Hits(hits) => assert_eq!(failed, hits, "target {number}"),
                Promise::Seed(seed) => {
                    let failed = report.lanes.swap_remove(0).failed;
                    let known = dice.entry(seed).or_insert_with(|| failed.clone());
                    assert_eq!(*known, failed, "target {number}, seed {seed}");
                }
            }
        }
    }
    assert_eq!(dice.len(), SEEDS);
    let (first, second) = (dice.get(&0), dice.get(&1));
    assert_ne!(first.context("no seed 0")?, second.context("no seed 1")?);
    // Who was not asked has counted nothing.
    for number in (0..TARGETS).filter(|number| !asked.contains(number)) {
        assert_eq!(agent.counts(&cgroups[number], 0)?.matched, 0, "target {number}");
    }
    Ok(())
}
