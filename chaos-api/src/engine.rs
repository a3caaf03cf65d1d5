//! Declares what the keeper, the control socket and the cluster's loop need of whatever arms targets: the armory of
//! the kernel is one, tests have others.

use std::{collections::BTreeSet, fmt, os::fd::BorrowedFd};

use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Plan};

use crate::{
    ArmedId, ContainerId, Ended, FaultClock, Leases, Notice, Occupied, Outcome, Request,
    TargetReport, TargetSpec,
};

/// A target that was looked for.
pub enum Found<T> {
    Target(T),
    /// It is not there, or cannot be known by what it has to be known by: later it may.
    Awaited(String),
    /// It is never a target.
    Refused(String),
}

impl<T> Found<T> {
    /// The pod's cgroup is there, but none of the containers that would confirm it.
    pub fn unconfirmed(cgroup: impl fmt::Display) -> Self {
        Self::Awaited(format!("cgroup {cgroup} has none of the pod's running containers yet"))
    }
}

/// Arms targets and keeps them armed. All of its methods are called on the keeper's thread.
pub trait Engine: Send + Sized + 'static {
    /// What is armed: found once, and held from then on.
    type Target;
    /// Why something could not be done.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What the kernel can do.
    fn features(&self) -> &KernelFeatures;

    /// Finds a target, which is called `name` from then on. `confirmed_by` are the containers of which the cgroup
    /// of a pod must have one, if there are any.
    fn find(
        &self,
        spec: &TargetSpec,
        name: &str,
        confirmed_by: &[ContainerId],
    ) -> Found<Self::Target>;

    /// Arms a target, or changes the faults of one that is armed. On an error or a refusal what
    /// was armed before stays as it was.
    fn arm(&mut self, request: Request<'_, Self::Target>) -> Result<Outcome, Self::Error>;

    /// Who has armed what does not go together with this plan, if it were armed at this moment, and `gone`
    /// were not.
    fn occupied(
        &self,
        id: &ArmedId,
        target: &Self::Target,
        plan: &Plan,
        faults: &[Fault],
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
        gone: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, Self::Error>;

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

    /// Kills every process of a container, which may not be protected. Needs Linux 5.14 (`cgroup.kill`).
    ///
    /// # Errors
    /// When there is no such container, or it could not be killed, with the reason.
    fn kill(&mut self, container: &TargetSpec) -> Result<(), String>;

    /// What is armed.
    fn ids(&self) -> impl Iterator<Item = &ArmedId>;

    /// The ledger of one target; `None` where nothing is armed under this name.
    fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, Self::Error>>;

    /// Renews the leases, and disarms what has ended or has lost its target.
    fn tick(&mut self);

    /// Whether something is left to be done for which nobody waits.
    fn has_work(&self) -> bool;

    /// Goes on with that for a while that is short beside the lease.
    fn work(&mut self);

    /// A descriptor that becomes readable when work has come up that nobody asked for, if there is one. It is so no more
    /// after [`Engine::work`].
    fn news(&self) -> Option<BorrowedFd<'_>>;

    /// Notes what the kernel has told of injections.
    fn sample(&mut self);

    /// What was noted since the last call, in the order of its happening as far as each target is
    /// concerned.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// The last ledgers, since the last call, of faults that others have replaced on targets that are still armed.
    fn take_replaced(&mut self) -> Vec<TargetReport>;

    /// The leases of all targets, for whoever has to stop everything at once.
    fn leases(&self) -> Leases;
}
