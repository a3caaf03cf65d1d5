//! The agent's arming side inside a program of this crate.

use std::{os::fd::AsFd, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use chaos_api::{ArmedId, Outcome, TargetReport, TargetSpec};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{CgroupRoot, Target, resolve},
    kernel::{Room, find_features},
};
use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Terms};

use crate::cgroup::TestCgroup;

/// Longer than any measurement: nobody renews it.
const LEASE: Duration = Duration::from_secs(3600);

/// As many targets as an agent has room for when it is not told another number.
const ROOM: Room = Room { texts: 256, rules: 2048 };

/// Arms one target at a time, and a crowd of others. Dropping it disarms.
pub struct Injector {
    armory: Armory,
    features: KernelFeatures,
}

impl Injector {
    /// `probe` is a cgroup to find out on what this kernel can do.
    pub fn new(probe: &Path) -> Result<Self> {
        let root = CgroupRoot::discover()?;
        let probe = resolve(&TargetSpec::Cgroup(probe.to_owned()), &root)?;
        let features = find_features(Ok(probe.cgroup.as_fd()));
        let armory = Armory::new(root, features.clone(), LEASE).with_room(ROOM);
        Ok(Self { armory, features })
    }

    /// What this kernel can do.
    pub fn features(&self) -> &KernelFeatures {
        &self.features
    }

    /// Resolves a target; it may be armed again and again.
    pub fn target(&self, cgroup: &Path) -> Result<Target> {
        let spec = TargetSpec::Cgroup(cgroup.to_owned());
        resolve(&spec, self.armory.root()).context("resolve the target")
    }

    /// Arms the target, or replaces what it is armed with. A refusal is an error.
    pub fn arm(&mut self, target: Target, faults: &[Fault]) -> Result<()> {
        self.arm_as(id(), target, faults)
    }

    /// Arms others beside it, under names of their own.
    pub fn arm_crowd(&mut self, crowd: &[TestCgroup], faults: &[Fault]) -> Result<()> {
        for (number, cgroup) in crowd.iter().enumerate() {
            self.arm_as(id_in_crowd(number), self.target(cgroup.path())?, faults)?;
        }
        Ok(())
    }

    fn arm_as(&mut self, id: ArmedId, target: Target, faults: &[Fault]) -> Result<()> {
        let request = Request { id, target, faults, terms: Terms::default(), clock: &|_| None };
        match self.armory.arm(request).context("arm")? {
            Outcome::Armed(_) => Ok(()),
            Outcome::Refused(plan) => bail!("{}", plan.refused[0]),
            Outcome::Occupied(occupied) => bail!("{}", occupied.refusals[0]),
        }
    }

    /// Disarms it, if it is armed; its last ledger.
    pub fn disarm(&mut self) -> Option<TargetReport> {
        self.armory.disarm(&id(), "no longer wanted")?.report
    }

    /// Disarms as many others.
    pub fn disarm_crowd(&mut self, count: usize) {
        for number in 0..count {
            self.armory.disarm(&id_in_crowd(number), "no longer wanted");
        }
    }
}

fn id_in_crowd(number: usize) -> ArmedId {
    ArmedId(format!("crowd-{number}"))
}

fn id() -> ArmedId {
    ArmedId("injector".to_owned())
}

/// Reads a text of sentences.
pub fn parse(text: &str) -> Result<Vec<Fault>> {
    let sentences = chaos_fault::parse(text).with_context(|| format!("parse {text:?}"))?;
    Ok(sentences.into_iter().map(|sentence| sentence.fault).collect())
}
