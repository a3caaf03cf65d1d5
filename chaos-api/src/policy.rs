//! What this node allows, whoever asks: how long, how many at once, and which addresses are left
//! alone. What is never a target is refused earlier, when it is looked for.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use chaos_plan::{Scope, Terms};
use thiserror::Error;

use crate::AllowedVerbs;

/// Bytes for the frames that all faults of a node hold at a time, where nobody says how many.
const HELD_MEMORY: u64 = 128 << 20;

/// Bytes that an agent needs besides the frames that it holds, with as many targets as the default
/// allows: itself, and the maps and programs of each. What it may use altogether
/// (`manifests/base/daemonset.yaml`) must not be less than both together.
pub const OWN_MEMORY: u64 = 384 << 20;

/// The limits of a node. The default has those of [`Terms::default`], 256 targets at once, 128 MiB for
/// held frames and no exempt address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For faults without `for`; not longer than `longest`.
    default_duration: Duration,
    /// A fault that wants longer is refused.
    longest: Duration,
    /// Targets armed at the same time.
    most_targets: usize,
    /// Bytes for the frames that all faults hold at a time.
    held_memory: u64,
    /// Addresses that are left alone unless a fault names exactly that one: those of the node, so
    /// that the kubelet's probes go through.
    exempt: Vec<IpAddr>,
    /// Of these namespaces no pod is broken by its annotation.
    protected: BTreeSet<String>,
    /// What annotations may use.
    verbs: AllowedVerbs,
}

/// Namespaces that are protected unless somebody says otherwise.
pub const PROTECTED_NAMESPACES: &str = "kube-system";

/// Limits that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    #[error(
        "the default duration of {default:?} is longer than the longest that is allowed, {longest:?}"
    )]
    DefaultTooLong { default: Duration, longest: Duration },
    #[error("a duration of nothing allows no fault at all; give more than 0s")]
    NoTime,
}

/// A node has enough to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this agent allows no more than {most} armed at once (`--most-targets`); disarm one first")]
pub struct TooManyTargets {
    most: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let Terms { default_duration, longest, .. } = Terms::default();
        Self {
            default_duration,
            longest,
            most_targets: 256,
            held_memory: HELD_MEMORY,
            exempt: Vec::new(),
            protected: [PROTECTED_NAMESPACES.to_owned()].into(),
            verbs: AllowedVerbs::all(),
        }
    }
}

impl Policy {
    /// A policy with these durations.
    pub fn new(default_duration: Duration, longest: Duration) -> Result<Self, PolicyError> {
        if default_duration.is_zero() {
            return Err(PolicyError::NoTime);
        }
        if default_duration > longest {
            return Err(PolicyError::DefaultTooLong { default: default_duration, longest });
        }
        Ok(Self { default_duration, longest, ..Self::default() })
    }

    /// The same, for at most so many targets at once.
    #[must_use]
    pub fn most_targets(self, most_targets: usize) -> Self {
        Self { most_targets, ..self }
    }

    /// The same, with so many bytes for the frames that all faults hold at a time.
    #[must_use]
    pub fn holding(self, held_memory: u64) -> Self {
        Self { held_memory, ..self }
    }

    /// For faults without `for`.
    pub fn default_duration(&self) -> Duration {
        self.default_duration
    }

    /// A fault that wants longer is refused.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Targets armed at the same time.
    pub fn most_targets_at_once(&self) -> usize {
        self.most_targets
    }

    /// Bytes for the frames that all faults hold at a time. What finds no room is lost, and counted.
    pub fn held_memory(&self) -> u64 {
        self.held_memory
    }

    /// The same, leaving these addresses alone.
    #[must_use]
    pub fn exempting(self, exempt: Vec<IpAddr>) -> Self {
        Self { exempt, ..self }
    }

    /// The same, protecting the pods of these namespaces and of no others.
    #[must_use]
    pub fn protecting(self, protected: BTreeSet<String>) -> Self {
        Self { protected, ..self }
    }

    /// Namespaces of which no pod is broken by its annotation.
    pub fn protected(&self) -> &BTreeSet<String> {
        &self.protected
    }

    /// The same, with these verbs for annotations.
    #[must_use]
    pub fn allowing(self, verbs: AllowedVerbs) -> Self {
        Self { verbs, ..self }
    }

    /// The verbs that annotations may use, where their namespace allows them, too.
    pub fn verbs(&self) -> &AllowedVerbs {
        &self.verbs
    }

    /// The terms of one plan; `seed` is for faults without a seed of their own.
    pub fn terms(&self, seed: u64, scope: Scope) -> Terms {
        let Self { default_duration, longest, exempt, .. } = self;
        Terms {
            default_duration: *default_duration,
            longest: *longest,
            seed,
            exempt: exempt.clone(),
            scope,
            now: None,
            has_guard: false,
            has_filter: false,
        }
    }

    /// Whether one more target may be armed when `armed` are.
    pub fn admit(&self, armed: usize) -> Result<(), TooManyTargets> {
        if armed < self.most_targets {
            Ok(())
        } else {
            Err(TooManyTargets { most: self.most_targets })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_default_has_the_limits_of_the_planner() {
        assert_eq!(Policy::default().terms(0, Scope::Whole), Terms::default());
    }

    #[test]
    fn terms_say_what_the_policy_says() {
        let node: IpAddr = "192.0.2.1".parse().unwrap();
        let policy = Policy::new(MINUTE, 2 * MINUTE).unwrap().exempting(vec![node]);
        let expected = Terms {
            default_duration: MINUTE,
            longest: 2 * MINUTE,
            seed: 7,
            exempt: vec![node],
            scope: Scope::Pod,
            now: None,
            has_guard: false,
            has_filter: false,
        };
        assert_eq!(policy.terms(7, Scope::Pod), expected);
    }

    #[test]
    fn the_manifest_grants_what_held_frames_and_the_agent_need() {
        let manifest = include_str!("../../manifests/base/daemonset.yaml");
        let (_, limits) = manifest.split_once("limits:").unwrap();
        let limit = limits.lines().find_map(|line| line.trim().strip_prefix("memory: ")).unwrap();
        let mebibytes: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        // An option there would say something else.
        assert!(manifest.contains("args: [agent]\n"));
        assert!(mebibytes << 20 >= Policy::default().held_memory() + OWN_MEMORY, "{limit}");
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(Policy::new(Duration::ZERO, MINUTE), Err(PolicyError::NoTime));
        assert!(Policy::new(MINUTE, MINUTE).is_ok());
        let error = Policy::new(2 * MINUTE, MINUTE).unwrap_err();
        assert_eq!(
            error,
            PolicyError::DefaultTooLong { default: 2 * MINUTE, longest: MINUTE },
            "{error}"
        );
    }

    #[test]
    fn the_last_place_can_be_taken_and_no_more() {
        let policy = Policy::default().most_targets(2);
        assert_eq!(policy.admit(1), Ok(()));
        let error = policy.admit(2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this agent allows no more than 2 armed at once (`--most-targets`); disarm one first"
        );
    }
}
