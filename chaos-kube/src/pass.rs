//! Orders the pods of one pass: what ends comes first, and arming is cut after [`LONGEST`]. Pure.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use super::{names::PodName, observed::Observed};

/// A pass is over after this, and the next one goes on: what was ordered meanwhile comes first in that.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// A pod as a pass finds it.
pub(super) struct FoundPod {
    pub pod: Arc<Pod>,
    pub facts: Observed,
    pub end: End,
}

/// What ends of what is armed for a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Everything, for this reason.
    All(String),
    Part,
    Nothing,
}

/// Puts pods of which something ends first, and of the others those behind `passed`, where the last pass ended.
pub(super) fn sort(found: &mut [FoundPod], passed: Option<&PodName>) {
    found.sort_by_cached_key(|one| {
        let name = &one.facts.name;
        (one.end.clone(), passed.is_some_and(|passed| name <= passed), name.clone())
    });
}
