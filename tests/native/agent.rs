//! The agent's arming side inside the test.

use std::{
    os::fd::AsFd,
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_api::{ArmedId, Counts, FaultReport, Outcome, TargetReport, TargetSpec};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{CgroupRoot, Target, resolve},
    kernel::{Room, find_features},
};
use chaos_plan::{Backend, DelayLine, Hook, KernelFeatures, Plan, Support, Terms};
use chaos_tests::{cgroup::TestCgroup, injector::parse, machine::Claim};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a program may be held up between two counters: an emulated processor may be put aside.
const CLOSING: Duration = Duration::from_secs(5);

/// Longer than any test: what is armed ends by its deadline or with the [`Agent`].
const LEASE: Duration = Duration::from_secs(600);

/// Arms faults, and does nothing by itself afterwards, as an agent that was stopped does nothing.
/// Dropping it disarms.
pub struct Agent {
    pub armory: Armory,
}

impl Agent {
    pub fn new(claim: &impl Claim) -> Result<Self> {
        Self::with_lease(claim, LEASE)
    }

    pub fn with_lease(claim: &impl Claim, lease: Duration) -> Result<Self> {
        let features = features(claim)?.clone();
        Ok(Self { armory: Armory::new(CgroupRoot::discover()?, features, lease) })
    }

    /// The same, with so many bytes for frames that are held.
    pub fn holding(self, bytes: u64) -> Self {
        Self { armory: self.armory.with_held_memory(bytes) }
    }

    /// The same, with room for so many targets.
    pub fn with_targets(self, texts: u32) -> Self {
        Self { armory: self.armory.with_room(Room { texts, ..Room::default() }) }
    }

    /// An agent that knows this of the kernel and no more.
    pub fn with_features(features: KernelFeatures) -> Result<Self> {
        Ok(Self { armory: Armory::new(CgroupRoot::discover()?, features, LEASE) })
    }

    /// An agent that has armed `faults`, one text of the fault language, for one target.
    pub fn armed(claim: &impl Claim, cgroup: &TestCgroup, faults: &str) -> Result<Self> {
        let mut agent = Self::new(claim)?;
        agent.arm(cgroup, faults)?;
        Ok(agent)
    }

    /// Arms a target, or replaces what it is armed with.
    pub fn arm(&mut self, cgroup: &TestCgroup, faults: &str) -> Result<Plan> {
        self.arm_on(cgroup, faults, Terms::default())
    }

    pub fn arm_on(&mut self, cgroup: &TestCgroup, faults: &str, terms: Terms) -> Result<Plan> {
        let request = Request {
            id: id(cgroup),
            target: target(cgroup)?,
            faults: &parse(faults)?,
            terms,
            clock: &|_| None,
        };
        match self.armory.arm(request).with_context(|| format!("arm {faults:?}"))? {
            Outcome::Armed(plan) => Ok(plan),
            Outcome::Refused(plan) => bail!("{}", plan.refused[0]),
            Outcome::Occupied(occupied) => bail!("{}", occupied.refusals[0]),
        }
    }

    /// Looks after what is armed once, as an agent does now and then, and goes on until nothing is left to
    /// be done.
    pub fn look(&mut self) -> Result<()> {
        self.work();
        let ended = self.armory.tick();
        ensure!(ended.is_empty(), "{ended:?}");
        self.work();
        Ok(())
    }

    /// Waits until there is news of interfaces, and works on it. It does not look after what is armed otherwise.
    pub fn work_on_news(&mut self, patience: Duration) -> Result<()> {
        let news = self.armory.news().context("there is no descriptor of news")?;
        let mut news = [PollFd::new(news, PollFlags::POLLIN)];
        let came = poll(&mut news, PollTimeout::try_from(patience)?)?;
        ensure!(came == 1, "no news came within {patience:?}");
        self.armory.work();
        self.work();
        Ok(())
    }

    fn work(&mut self) {
        while self.armory.has_work() {
            self.armory.work();
        }
    }

    pub fn report(&self, cgroup: &TestCgroup) -> Result<TargetReport> {
        Ok(self.armory.report(&id(cgroup)).context("the target is not armed")??)
    }

    /// The n-th fault's ledger. The traffic must have ended: its books are checked, once the program that is at work on
    /// another processor has closed them.
    pub fn counts(&self, cgroup: &TestCgroup, fault: usize) -> Result<Counts> {
        let give_up = Instant::now() + CLOSING;
        loop {
            let FaultReport { counts, .. } = self.report(cgroup)?.faults.swap_remove(fault);
            if counts.imbalance() == 0 {
                return Ok(counts);
            }
            ensure!(Instant::now() < give_up, "the ledger does not add up: {counts:?}");
            sleep(Duration::from_millis(1));
        }
    }
}

pub fn id(cgroup: &TestCgroup) -> ArmedId {
    ArmedId(cgroup.path().display().to_string())
}

pub fn target(cgroup: &TestCgroup) -> Result<Target> {
    Ok(resolve(&TargetSpec::Cgroup(cgroup.path().to_owned()), &CgroupRoot::discover()?)?)
}

/// What this kernel can do, found once.
pub fn features(claim: &impl Claim) -> Result<&'static KernelFeatures> {
    static FEATURES: OnceLock<KernelFeatures> = OnceLock::new();
    if let Some(found) = FEATURES.get() {
        return Ok(found);
    }
    let probe = TestCgroup::new(claim, "probe")?;
    let cgroup = target(&probe)?.cgroup;
    Ok(FEATURES.get_or_init(|| find_features(Ok(cgroup.as_fd()))))
}

/// Whether this kernel has a hook, for [`chaos_tests::require`].
pub fn has(claim: &impl Claim, hook: Hook) -> Result<(), String> {
    match features(claim).map_err(|error| error.to_string())?.support(hook) {
        Support::Works => Ok(()),
        Support::Missing { reason, .. } => Err(reason),
    }
}

/// The same for frames, by whichever hooks.
pub fn has_frames(claim: &impl Claim) -> Result<(), String> {
    has(claim, Hook::TcxEgress).or_else(|_| has(claim, Hook::ClsactEgress))
}

/// The same for delay lines.
pub fn has_line(claim: &impl Claim) -> Result<(), String> {
    let features = features(claim).map_err(|error| error.to_string())?;
    match features.best_line() {
        Some(_) => Ok(()),
        None => Err(format!("{:?}", features.lines().collect::<Vec<_>>())),
    }
}

/// The delay line that this kernel's targets have.
pub fn line(claim: &impl Claim) -> Result<Option<DelayLine>> {
    Ok(features(claim)?.best_line())
}

/// The same for a backend.
pub fn answers(claim: &impl Claim, backend: Backend) -> Result<(), String> {
    match features(claim).map_err(|error| error.to_string())?.support(backend) {
        Support::Works => Ok(()),
        Support::Missing { reason, .. } => Err(reason),
    }
}
