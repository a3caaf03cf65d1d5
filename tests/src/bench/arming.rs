//! The agent's arming side, inside the benchmark.

use std::{os::fd::AsFd, time::Duration};

use anyhow::{Context, Result, bail};
use chaos_agent::{
    arm::{ArmedId, Armory, Outcome, Request},
    fault::{self, Fault},
    kernel::find_features,
    plan::Terms,
    target::{CgroupRoot, Target, TargetSpec},
};
use chaos_tests::cgroup::TestCgroup;

/// Longer than any run: nobody renews it.
const LEASE: Duration = Duration::from_secs(3600);

/// Arms one target at a time. Dropping it disarms.
pub struct Injector {
    armory: Armory,
}

impl Injector {
    /// `probe` is an empty cgroup to find out on what this kernel can do.
    pub fn new(probe: &TestCgroup) -> Result<Self> {
        let root = CgroupRoot::discover()?;
        let probe = TargetSpec::Cgroup(probe.path().to_owned()).resolve(&root)?;
        let features = find_features(Ok(probe.cgroup.as_fd()));
        Ok(Self { armory: Armory::new(root, features, LEASE) })
    }

    pub fn target(&self, cgroup: &TestCgroup) -> Result<Target> {
        let spec = TargetSpec::Cgroup(cgroup.path().to_owned());
        spec.resolve(self.armory.root()).context("resolve the target")
    }

    pub fn arm(&mut self, target: Target, faults: &[Fault]) -> Result<()> {
        let request =
            Request { id: id(), target, faults, terms: Terms::default(), began: &|_| None };
        match self.armory.arm(request).context("arm")? {
            Outcome::Armed(_) => Ok(()),
            Outcome::Refused(plan) => bail!("{}", plan.refused[0]),
        }
    }

    pub fn disarm(&mut self) {
        self.armory.disarm(&id(), "the measurement is over");
    }
}

fn id() -> ArmedId {
    ArmedId("bench".to_owned())
}

/// Reads a text of sentences.
pub fn parse(text: &str) -> Result<Vec<Fault>> {
    let sentences = fault::parse(text).with_context(|| format!("parse {text:?}"))?;
    Ok(sentences.into_iter().map(|sentence| sentence.fault).collect())
}
