//! Defines what a run may break at most.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Beyond any of these a run is refused before it touches anything. While it goes on, nothing is armed beyond them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.duration) || duration(self.duration) > duration('0s')")
        .message("duration must be longer than nothing")
)]
pub struct Limits {
    /// Pods at a time
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub targets: Option<u32>,
    /// Of the pods that a target selects, such as `30%`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(100|[1-9][0-9]?)%$"))]
    pub share: Option<String>,
    /// Nodes at a time
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub nodes: Option<u32>,
    /// All steps together
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub duration: Option<String>,
    /// Ready pods of a target that are left alone
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub min_ready: Option<u32>,
    /// Whether PodDisruptionBudgets are respected: a pod with faults, or that is deleted, counts as unavailable
    #[serde(default)]
    pub disruption_budgets: DisruptionBudgets,
}

/// What PodDisruptionBudgets are to a run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum DisruptionBudgets {
    /// No more pods are picked than they allow.
    #[default]
    Respect,
    /// They are not looked at. Evictions respect them all the same.
    Ignore,
}
