//! Declares what the keeper, the control socket and the cluster's loop need of whatever arms targets: the
//! [`Armory`] is the one of the kernel, tests have others.

#[cfg(test)]
pub(crate) mod fake;

use std::collections::BTreeSet;

use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Plan};

use super::{
    ArmError, ArmedId, Armory, Ended, Leases, Notice, Occupied, Outcome, Request, TargetReport,
};
use crate::target::{ContainerId, Target, TargetError, TargetSpec, find_pod};

/// A target that was looked for.
pub enum Found<T> {
    Target(T),
    /// The cgroup is there, and has none of the containers that the kubelet says run in the pod.
    Unconfirmed {
        cgroup: String,
    },
}

/// Arms targets and keeps them armed. All of its methods are called on the keeper's thread.
pub trait Engine: Send + Sized + 'static {
    /// What is armed: found once, and held from then on.
    type Target;

    /// What the kernel can do.
    fn features(&self) -> &KernelFeatures;

    /// Finds a target, which is called `name` from then on. `confirmed_by` are the containers of which the cgroup
    /// of a pod must have one, if there are any.
    fn find(
        &self,
        spec: &TargetSpec,
        name: &str,
        confirmed_by: &[ContainerId],
    ) -> Result<Found<Self::Target>, TargetError>;

    /// Arms a target, or changes the faults of one that is armed. On an error or a refusal what
    /// was armed before stays as it was.
    fn arm(&mut self, request: Request<'_, Self::Target>) -> Result<Outcome, ArmError>;

    /// Who has armed what does not go together with this plan, if it were armed at this moment, and `gone`
    /// were not.
    fn occupied(
        &self,
        id: &ArmedId,
        target: &Self::Target,
        plan: &Plan,
        faults: &[Fault],
        began: &dyn Fn(&Fault) -> Option<u64>,
        gone: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, ArmError>;

    /// Disarms targets, as somebody asked for; tells of each as disarmed.
    fn disarm_all<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a ArmedId>,
        why: &str,
    ) -> Vec<Ended>;

    /// Disarms targets, each for its reason, which nobody asked for; tells of each as ended.
    fn end_all(&mut self, over: &[(ArmedId, String)]) -> Vec<Ended>;

    /// Disarms everything, after it took all leases away.
    fn halt(&mut self, why: &str) -> Vec<Ended>;

    /// What is armed.
    fn ids(&self) -> impl Iterator<Item = &ArmedId>;

    /// The ledger of one target; `None` where nothing is armed under this name.
    fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, ArmError>>;

    /// Renews the leases, and disarms what has ended or has lost its target.
    fn tick(&mut self);

    /// Whether something is left to be done for which nobody waits.
    fn has_work(&self) -> bool;

    /// Goes on with that for a while that is short beside the lease.
    fn work(&mut self);

    /// Notes what the kernel has told of injections.
    fn sample(&mut self);

    /// What was noted since the last call, in the order of its happening as far as each target is
    /// concerned.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// The leases of all targets, for whoever has to stop everything at once.
    fn leases(&self) -> Leases;
}

impl Engine for Armory {
    type Target = Target;

    fn features(&self) -> &KernelFeatures {
        Self::features(self)
    }

    fn find(
        &self,
        spec: &TargetSpec,
        name: &str,
        confirmed_by: &[ContainerId],
    ) -> Result<Found<Target>, TargetError> {
        let target = spec.resolve(self.root())?;
        let is_confirmed = match spec {
            // A container is found by its id in the first place.
            TargetSpec::Pod { uid, container: None } if !confirmed_by.is_empty() => {
                find_pod(self.root(), uid)?.is_confirmed_by(confirmed_by)?
            }
            _ => true,
        };
        Ok(if is_confirmed {
            Found::Target(target.named(name.to_owned()))
        } else {
            Found::Unconfirmed { cgroup: target.cgroup.path().display().to_string() }
        })
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
        began: &dyn Fn(&Fault) -> Option<u64>,
        gone: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, ArmError> {
        Self::occupied(self, id, target, plan, faults, began, gone)
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

    fn sample(&mut self) {
        Self::sample(self);
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Self::take_notices(self)
    }

    fn leases(&self) -> Leases {
        Self::leases(self)
    }
}
