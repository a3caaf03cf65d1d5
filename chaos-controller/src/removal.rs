//! Says how a pod is removed: deleted or evicted, by its UID, so that no pod that has taken its name is meant.

use std::{collections::BTreeSet, time::Duration};

use chaos_api::kinds::PodAction;
use chaos_fault::parse_duration;
use chaos_kube::PodName;

/// What the API server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Whatever PodDisruptionBudgets say.
    Delete,
    /// If PodDisruptionBudgets allow it.
    Evict,
}

/// A pod that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRemoval {
    pub pod: PodName,
    pub uid: String,
    pub way: Way,
    /// How long it has to end, in seconds, if not as long as it says itself.
    pub grace: Option<u32>,
}

impl Way {
    /// By which way an action removes pods.
    pub fn of(action: PodAction) -> Self {
        match action {
            PodAction::Delete | PodAction::Restart => Self::Delete,
            PodAction::Evict => Self::Evict,
        }
    }

    /// As a namespace allows it, in its annotation with the verbs.
    pub fn words(self) -> &'static str {
        match self {
            Self::Delete => "delete pods",
            Self::Evict => "evict pods",
        }
    }
}

/// The ways that a list with commas between allows. None of them is allowed by default: they are destructive.
pub fn allowed_ways(list: &str) -> BTreeSet<Way> {
    let words = list.split(',').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
    let way = |word: String| {
        [Way::Delete, Way::Evict].into_iter().find(|way| word.eq_ignore_ascii_case(way.words()))
    };
    words.filter_map(way).collect()
}

/// Reads a grace period: whole seconds, an hour at most.
pub fn grace(text: &str) -> Result<u32, String> {
    // Kubernetes knows this one, which is no duration of a fault.
    if matches!(text, "0s" | "0") {
        return Ok(0);
    }
    let lasting = parse_duration(text).map_err(|error| error.message)?;
    if lasting.subsec_nanos() != 0 || lasting > Duration::from_secs(3600) {
        return Err(format!("`{text}` is no whole number of seconds up to an hour"));
    }
    u32::try_from(lasting.as_secs()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_have_to_be_named() {
        let allowed = |list: &str| allowed_ways(list).into_iter().collect::<Vec<_>>();
        assert_eq!(allowed("default, kill"), []);
        assert_eq!(allowed("default, Evict  Pods"), [Way::Evict]);
        assert_eq!(allowed("evict pods,delete pods,delete"), [Way::Delete, Way::Evict]);
    }

    #[test]
    fn grace_periods_are_whole_seconds() {
        assert_eq!((grace("0s"), grace("1m30s")), (Ok(0), Ok(90)));
        for wrong in ["", "500ms", "2h", "soon"] {
            assert!(grace(wrong).is_err(), "{wrong}");
        }
    }
}
