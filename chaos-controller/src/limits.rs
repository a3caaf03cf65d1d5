//! Holds what is picked within the limits of an experiment, and says which limit a plan is beyond.

use std::time::Duration;

use chaos_api::kinds::{self, DisruptionBudgets};
use chaos_fault::{parse_duration, print_duration};
use thiserror::Error;

use crate::{
    counted::{be, counted},
    pick::{percent, share},
};

/// Limits that can be compared. What is missing has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub targets: Option<usize>,
    /// Percent.
    pub share: Option<usize>,
    pub nodes: Option<usize>,
    pub duration: Option<Duration>,
    pub min_ready: Option<usize>,
    /// Whether PodDisruptionBudgets are not looked at.
    pub ignores_budgets: bool,
}

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitsError {
    #[error("share: `{0}` is no share; write one such as `30%`")]
    Share(String),
    #[error("duration: {0}")]
    Duration(String),
}

/// What a plan would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Pods that are picked.
    pub picked: usize,
    /// Pods from which they are picked.
    pub selected: usize,
    pub nodes: usize,
}

impl Limits {
    /// Reads the limits of an experiment.
    pub fn read(limits: &kinds::Limits) -> Result<Self, LimitsError> {
        let kinds::Limits { targets, share, nodes, duration, min_ready, disruption_budgets } =
            limits;
        let number = |limit: &Option<u32>| limit.map(|limit| limit as usize);
        let share = share
            .as_ref()
            .map(|text| percent(text).ok_or_else(|| LimitsError::Share(text.clone())))
            .transpose()?;
        let duration = duration
            .as_ref()
            .map(|text| parse_duration(text).map_err(|error| LimitsError::Duration(error.message)))
            .transpose()?;
        let (targets, nodes, min_ready) = (number(targets), number(nodes), number(min_ready));
        let ignores_budgets = match disruption_budgets {
            DisruptionBudgets::Respect => false,
            DisruptionBudgets::Ignore => true,
        };
        Ok(Self { targets, share, nodes, duration, min_ready, ignores_budgets })
    }

    /// Each limit that a plan is beyond, in words.
    pub fn beyond(&self, extent: Extent) -> Vec<String> {
        let Extent { picked, selected, nodes } = extent;
        let mut beyond = Vec::new();
        if let Some(most) = self.targets.filter(|most| picked > *most) {
            beyond.push(format!(
                "limits.targets: {} {} picked, and {most} {} allowed",
                counted(picked as u64, "pod"),
                be(picked as u64),
                be(most as u64)
            ));
        }
        if let Some(percent) = self.share.filter(|percent| picked > share(*percent, selected)) {
            let most = share(percent, selected);
            beyond.push(format!(
                "limits.share: {picked} of {selected} pods are picked, and {percent}% of them are {most}"
            ));
        }
        if let Some(most) = self.nodes.filter(|most| nodes > *most) {
            beyond.push(format!(
                "limits.nodes: the picked pods are on {}, and {most} {} allowed",
                counted(nodes as u64, "node"),
                be(most as u64)
            ));
        }
        if let Some(least) = self.min_ready.filter(|least| selected - picked < *least) {
            let left = selected - picked;
            beyond.push(format!(
                "limits.minReady: {left} ready pods would be left alone, and {least} must be"
            ));
        }
        beyond
    }

    /// Whether so long is too long, in words.
    pub fn too_long(&self, lasting: Duration) -> Option<String> {
        let most = self.duration.filter(|most| lasting > *most)?;
        let (lasting, most) = (print_duration(lasting), print_duration(most));
        Some(format!("limits.duration: the steps take {lasting}, and {most} are allowed"))
    }

    /// How many pods may be picked of so many.
    pub fn most(&self, selected: usize) -> usize {
        let by_share = self.share.map(|percent| share(percent, selected));
        let by_ready = self.min_ready.map(|least| selected.saturating_sub(least));
        [self.targets, by_share, by_ready].into_iter().flatten().fold(selected, usize::min)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prop_assert, prop_assert_eq, prop_compose, proptest};

    use super::*;

    #[test]
    fn each_limit_is_named() {
        let limits = Limits {
            targets: Some(2),
            share: Some(30),
            nodes: Some(1),
            duration: Some(Duration::from_secs(60)),
            min_ready: Some(8),
            ignores_budgets: false,
        };
        let beyond = limits.beyond(Extent { picked: 4, selected: 10, nodes: 2 });
        assert_eq!(
            beyond,
            [
                "limits.targets: 4 pods are picked, and 2 are allowed",
                "limits.share: 4 of 10 pods are picked, and 30% of them are 3",
                "limits.nodes: the picked pods are on 2 nodes, and 1 is allowed",
                "limits.minReady: 6 ready pods would be left alone, and 8 must be",
            ]
        );
        assert_eq!(limits.beyond(Extent { picked: 2, selected: 10, nodes: 1 }), [] as [&str; 0]);
        let long = limits.too_long(Duration::from_secs(90)).unwrap();
        assert_eq!(long, "limits.duration: the steps take 1m30s, and 1m are allowed");
        assert_eq!(limits.too_long(Duration::from_secs(60)), None);
    }

    prop_compose! {
        fn any_limits()(
            targets in option::of(1_usize..50),
            share in option::of(1_usize..=100),
            min_ready in option::of(1_usize..50),
        ) -> Limits {
            Limits { targets, share, min_ready, ..Limits::default() }
        }
    }

    proptest! {
        #[test]
        fn what_may_be_picked_is_within_and_one_more_is_not(limits in any_limits(), selected in 0_usize..100) {
            let most = limits.most(selected);
            prop_assert!(most <= selected);
            let extent = |picked| Extent { picked, selected, nodes: 1 };
            let within = |picked: usize| limits.beyond(extent(picked)).is_empty();
            // With nothing picked, too few may be ready all the same.
            let is_short = limits.min_ready.is_some_and(|least| selected < least);
            prop_assert_eq!(within(most), !is_short);
            prop_assert!(most >= selected || !within(most + 1));
        }
    }
}
