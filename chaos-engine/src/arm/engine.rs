//! The armory as an engine.

use std::{collections::BTreeSet, os::fd::BorrowedFd};

use chaos_api::{
    ArmedId, ContainerId, Ended, Engine, FaultClock, Found, Leases, Notice, Occupied, Outcome,
    TargetReport, TargetSpec,
};
use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Plan};

use super::{ArmError, Armory, Request};
use crate::cgroup::{Target, TargetError, find_pod, resolve};

impl Engine for Armory {
    type Target = Target;
    type Error = ArmError;

    fn features(&self) -> &KernelFeatures {
        Self::features(self)
    }

    fn find(&self, spec: &TargetSpec, name: &str, confirmed_by: &[ContainerId]) -> Found<Target> {
        let found = resolve(spec, self.root()).and_then(|target| {
            // A container is found by its id in the first place.
            let is_confirmed = if let TargetSpec::Pod { uid, container: None } = spec
                && !confirmed_by.is_empty()
            {
                find_pod(self.root(), uid)?.is_confirmed_by(confirmed_by)?
            } else {
                true
            };
            Ok((target, is_confirmed))
        });
        match found {
            Ok((target, true)) => Found::Target(target.named(name.to_owned())),
            Ok((target, false)) => Found::unconfirmed(target.cgroup.path().display()),
            Err(
                error @ (TargetError::Protected { .. }
                | TargetError::HoldsPods { .. }
                | TargetError::RootCgroup { .. }
                | TargetError::Malformed(_)),
            ) => Found::Refused(error.to_string()),
            Err(error) => Found::Awaited(error.to_string()),
        }
    }

    fn arm(&mut self, request: Request<'_>) -> Result<Outcome, ArmError> {
        Self::arm(self, request)
    }

    fn occupied(
        &self,
        id: &ArmedId,
        target: &Target,
        plan: &Plan,
        faults: &[Fault],
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
        gone: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, ArmError> {
        Self::occupied(self, id, target, plan, faults, clock, gone)
    }

    fn disarm_all<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a ArmedId>,
        why: &str,
    ) -> Vec<Ended> {
        Self::disarm_all(self, ids, why)
    }

    fn end_all(&mut self, over: &[(ArmedId, String)]) -> Vec<Ended> {
        Self::end_all(self, over)
    }

    fn halt(&mut self, why: &str) -> Vec<Ended> {
        Self::halt(self, why)
    }

    fn kill(&mut self, container: &TargetSpec) -> Result<(), String> {
        let target = resolve(container, self.root()).map_err(|error| error.to_string())?;
        target.cgroup.kill().map_err(|error| error.to_string())
    }

    fn ids(&self) -> impl Iterator<Item = &ArmedId> {
        Self::ids(self)
    }

    fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, ArmError>> {
        Self::report(self, id)
    }

    fn tick(&mut self) {
        Self::tick(self);
    }

    fn has_work(&self) -> bool {
        Self::has_work(self)
    }

    fn work(&mut self) {
        Self::work(self);
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        Self::news(self)
    }

    fn sample(&mut self) {
        Self::sample(self);
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Self::take_notices(self)
    }

    fn take_replaced(&mut self) -> Vec<TargetReport> {
        Self::take_replaced(self)
    }

    fn leases(&self) -> Leases {
        Self::leases(self)
    }
}
