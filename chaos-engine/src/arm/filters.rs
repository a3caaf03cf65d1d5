//! Whose a filter on an interface is, and those of agents that were killed.

use super::ArmError;
use crate::{
    cgroup::{CgroupRoot, NetNs, Owner},
    kernel::{self, Naming},
};

/// How the names of filters begin; [`Owner`] writes the rest, with 1 as the number where a queueing
/// discipline was made for the filter and 0 where it was there.
const PREFIX: &str = "chaos-agent-filter-";

/// Whether a filter with this name came with its queueing discipline, if it is one of ours.
fn made_qdisc(name: &str) -> Option<bool> {
    Owner::of_name(PREFIX, name.as_ref()).map(|(_, number)| number == 1)
}

/// Runs `attach` with names that tell this owner.
pub(super) fn with_naming<T>(owner: &Owner, attach: impl FnOnce(&Naming<'_>) -> T) -> T {
    let write = |made_qdisc: bool| owner.name(PREFIX, made_qdisc.into());
    attach(&Naming { write: &write, read: &made_qdisc })
}

/// Takes away the filters of agents that were killed, wherever some process is that we may look at.
/// They have done nothing since. Returns how many there were.
///
/// # Errors
/// When this process cannot look for namespaces. One that is gone, closed to us or does not answer is
/// passed over.
pub fn collect_filters(root: &CgroupRoot) -> Result<usize, ArmError> {
    let left = |name: &str| {
        let (owner, number) = Owner::of_name(PREFIX, name.as_ref())?;
        owner.is_gone(root).then_some(number == 1)
    };
    let mut collected = 0;
    for namespace in NetNs::all(root)? {
        let inode = namespace.inode();
        match namespace.enter_in_thread(|| kernel::collect_filters(&left)) {
            Ok(Ok(count)) => collected += count,
            Ok(Err(error)) => {
                tracing::warn!(%error, inode, "cannot look for left filters in a network namespace");
            }
            Err(error) => tracing::debug!(%error, "a network namespace was not looked at"),
        }
    }
    Ok(collected)
}
