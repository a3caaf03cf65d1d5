//! Processes that were started with a filter of ours, and who answers them.

use std::{collections::BTreeSet, fs, sync::Arc};

use chaos_fault::Fault;
use chaos_plan::{Backend, KernelFeatures, Plan, PlannedCall, PlannedRule, Refusal, Support};

use super::{ArmError, Armed};
use crate::{
    cgroup::{Cgroup, CgroupRoot, Target, is_sandbox_process},
    seccomp::{SharedRules, Supervisor},
};

/// A container that was started under a profile with our listener.
#[derive(Debug)]
pub struct FilteredContainer {
    /// The runtime's id of it.
    pub id: String,
    pub cgroup: Cgroup,
    /// Numbers of the calls that its filter tells of.
    pub calls: BTreeSet<u16>,
    pub supervisor: Supervisor,
}

/// What there is to reach by seccomp.
#[derive(Default)]
pub(super) struct Filtered {
    /// By the id of the cgroup.
    child: Option<(u64, Arc<SharedRules>)>,
    containers: Vec<FilteredContainer>,
}

impl Filtered {
    pub fn expect_child(&mut self, target: &Target, shared: Arc<SharedRules>) {
        self.child = Some((target.cgroup.id(), shared));
    }

    /// Takes a container in, and has its calls answered from now on: what it belongs to and is
    /// armed holds for it from its first one.
    pub fn add<'a>(
        &mut self,
        mut container: FilteredContainer,
        armed: impl Iterator<Item = &'a Armed>,
    ) -> Result<(), ArmError> {
        let mut all_shared = armed
            .filter(|armed| armed.target().cgroup.contains(&container.cgroup))
            .filter_map(Armed::shared_rules);
        let judged = all_shared.try_for_each(|shared| container.supervisor.adopt(shared));
        let served = container.supervisor.serve();
        self.containers.push(container);
        Ok(judged.and(served)?)
    }

    /// Forgets the containers that have ended, and their supervisors with them.
    pub fn forget_ended(&mut self) {
        self.containers.retain_mut(|container| container.supervisor.is_running());
    }

    /// What the kernel can do for this target: a process gets a filter when it is started and at
    /// no other time.
    pub fn features(
        &self,
        kernel: &KernelFeatures,
        root: &CgroupRoot,
        target: &Target,
    ) -> KernelFeatures {
        let works = kernel.support(Backend::Seccomp) == Support::Works;
        if !works || self.shared_of_child(target).is_some() {
            return kernel.clone();
        }
        match self.unfiltered(root, target) {
            None => kernel.clone(),
            Some(reason) => without_seccomp(kernel, reason),
        }
    }

    /// What of the target no supervisor answers.
    fn unfiltered(&self, root: &CgroupRoot, target: &Target) -> Option<String> {
        if self.containers_of(target).next().is_none() {
            return Some(NOT_FILTERED.to_owned());
        }
        // A process that ends meanwhile needs no answer.
        let processes = target.cgroup.processes().unwrap_or_default();
        let alone = processes.into_iter().find(|pid| {
            let is_in = |container: &FilteredContainer| {
                root.of_process(*pid).map_or(true, |cgroup| container.cgroup.contains(&cgroup))
            };
            !self.containers_of(target).any(is_in) && !is_sandbox_process(root, *pid)
        })?;
        Some(format!("process {alone} of the target was not started with the filter"))
    }

    /// The plan without the rules on calls that the filter of some container does not tell of.
    pub fn check(&self, mut plan: Plan, target: &Target) -> Plan {
        let is_told_of = |call: &PlannedCall| {
            call.backend != Backend::Seccomp
                || self
                    .containers_of(target)
                    .all(|container| container.calls.contains(&call.number))
        };
        for rule in &mut plan.rules {
            let fault = &rule.fault;
            let untold = |call: &mut PlannedCall| is_besides(call, fault) && !is_told_of(call);
            let left: Vec<PlannedCall> = rule.calls.extract_if(.., untold).collect();
            rule.notes.extend(left.iter().map(|call| {
                format!("{call}: left alone, the seccomp profile of the target does not tell of it")
            }));
        }
        let lacking = |rule: &PlannedRule| {
            let call = rule.calls.iter().find(|call| !is_told_of(call))?;
            Some(Refusal {
                index: rule.index,
                fault: rule.fault.clone(),
                reason: format!(
                    "the seccomp profile of the target does not tell of `{}`",
                    call.name
                ),
                remedy: Some(
                    "name a call that it lists, or start it under one that does: docs/seccomp.md"
                        .to_owned(),
                ),
            })
        };
        let refused: Vec<Refusal> = plan.rules.iter().filter_map(lacking).collect();
        plan.rules.retain(|rule| refused.iter().all(|refusal| refusal.index != rule.index));
        plan.refused.extend(refused);
        plan
    }

    /// Shared rules that the target's supervisors judge by.
    pub fn shared_rules(&self, target: &Target) -> Result<Option<Arc<SharedRules>>, ArmError> {
        if let Some(shared) = self.shared_of_child(target) {
            return Ok(Some(shared));
        }
        let shared = Arc::new(SharedRules::create()?);
        for container in self.containers_of(target) {
            // Those that have it already forget it.
            container.supervisor.adopt(&shared).inspect_err(|_| shared.close())?;
        }
        Ok(Some(shared))
    }

    /// Has supervisors forget shared rules that nothing was armed on; the child's is still awaited.
    pub fn give_up(&self, shared: &Arc<SharedRules>) {
        if self.child.as_ref().is_none_or(|(_, childs)| !Arc::ptr_eq(childs, shared)) {
            shared.close();
        }
    }

    fn containers_of(&self, target: &Target) -> impl Iterator<Item = &FilteredContainer> {
        self.containers.iter().filter(|container| target.cgroup.contains(&container.cgroup))
    }

    fn shared_of_child(&self, target: &Target) -> Option<Arc<SharedRules>> {
        let (cgroup, shared) = self.child.as_ref()?;
        (*cgroup == target.cgroup.id()).then(|| shared.clone())
    }
}

const NOT_FILTERED: &str = "the target was not started with the filter";

fn without_seccomp(kernel: &KernelFeatures, reason: String) -> KernelFeatures {
    let remedy =
        "start it by `chaos-agent run`, or the pod with our seccomp profile while the agent runs";
    let missing = Support::Missing { reason, remedy: remedy.to_owned() };
    kernel.clone().with(Backend::Seccomp, missing)
}

/// What the kernel can do for a target that somebody asks about who arms nothing. A target without any
/// filter has none of ours; of another one it is not known.
pub fn features_for(kernel: &KernelFeatures, target: &Target) -> KernelFeatures {
    let works = kernel.support(Backend::Seccomp) == Support::Works;
    let processes = target.cgroup.processes().unwrap_or_default();
    if works && !processes.into_iter().any(has_filter) {
        return without_seccomp(kernel, NOT_FILTERED.to_owned());
    }
    kernel.clone()
}

/// Whether system calls of the process are filtered (proc_pid_status(5), `Seccomp`).
fn has_filter(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

/// Whether the call belongs to the fault's `read` or `write` besides the calls that do nothing but read or write: what
/// copies, and `fallocate`. Profiles from before do not tell of them.
fn is_besides(call: &PlannedCall, fault: &Fault) -> bool {
    let is_named = || fault.verb.calls().iter().any(|named| named.name() == call.name);
    call.end.is_some() || call.name == "fallocate" && !is_named()
}
