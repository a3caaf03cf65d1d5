//! The kernel of this machine, for verbs that need it.

use std::{collections::BTreeSet, os::fd::AsFd};

use chaos_api::clock::boot_offset;
use chaos_engine::{
    arm::collect_filters,
    cgroup::{Cgroup, CgroupRoot, TransientCgroup, collect_leftovers},
    kernel::{Trials, check_clock, find_features, release},
};
use chaos_fault::Fault;
use chaos_plan::{Hook, KernelFeatures, Plan, Terms, plan};

use super::{failure::Failure, rights};

/// Finds the cgroup hierarchy, and removes what killed agents left in it. Refuses to go on where programs
/// read another clock.
pub fn prepare() -> anyhow::Result<CgroupRoot> {
    let root = CgroupRoot::discover()?;
    check_clock()?;
    if boot_offset() != 0 {
        tracing::info!(
            seconds = boot_offset() / 1_000_000_000,
            "the boot clock is moved by a time namespace"
        );
    }
    match collect_leftovers(&root) {
        Ok(removed) => {
            for path in removed {
                tracing::info!(path = %path.display(), "removed what a killed agent left");
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for what killed agents left"),
    }
    Ok(root)
}

/// Removes the filters that killed agents left on interfaces, where the kernel has been found to need
/// filters.
pub fn collect_left_filters(root: &CgroupRoot, features: &KernelFeatures) {
    // Nobody takes a filter where the kernel has links.
    if Hook::ALL.into_iter().all(|hook| features.stand_in(hook) == hook) {
        return;
    }
    match collect_filters(root) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed filters that a killed agent left"),
        Err(error) => tracing::warn!(%error, "cannot look for filters that killed agents left"),
    }
}

/// A cgroup of our own below the agent's.
pub fn own_cgroup(root: &CgroupRoot) -> anyhow::Result<TransientCgroup> {
    rights::require()?;
    Ok(TransientCgroup::create(root)?)
}

/// Refuses faults that no kernel can do for such a target, before anything is made or tried: what
/// stands against them is the reason, whatever else this kernel lacks.
pub fn refuse_impossible(faults: &[Fault], terms: &Terms) -> Result<(), Failure> {
    let Plan { refused, .. } = plan(faults, &KernelFeatures::everything(release()), terms);
    if refused.is_empty() { Ok(()) } else { Err(Failure::Refused(refused)) }
}

/// Tries every hook, on a cgroup that exists only meanwhile.
pub fn try_features(root: &CgroupRoot) -> KernelFeatures {
    match own_cgroup(root) {
        Ok(probe) => find_features(Ok(probe.cgroup().as_fd())),
        Err(error) => find_features(Err(format!("{error:#}"))),
    }
}

/// Tries on `probe` the hooks that these faults need, and the backends for calls where the faults
/// name some that these hooks do not answer, so that nobody waits for the others.
pub fn try_needed(probe: &Cgroup, faults: &[Fault], terms: &Terms) -> KernelFeatures {
    let wanted = plan(faults, &KernelFeatures::everything("any"), terms);
    let needed: BTreeSet<Hook> = wanted.hooks();
    let mut trials = Trials::new();
    trials.try_hooks(&needed, Ok(probe.as_fd()));
    if wanted.line().or(wanted.answer_line()).is_some() {
        trials.try_best_line();
    }
    let names_calls = faults.iter().any(|fault| !fault.verb.calls().is_empty());
    // No backend has been tried, so a call that needs one is refused.
    if names_calls && !plan(faults, trials.features(), terms).refused.is_empty() {
        trials.try_backends();
    }
    trials.features().clone()
}
