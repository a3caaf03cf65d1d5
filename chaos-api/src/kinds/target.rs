//! Defines which pods are meant, and how many of them are picked.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Labels;

/// Pods of the experiment's namespace. Only pods that are ready are picked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.pick) || (type(self.pick) == int ? self.pick > 0 : self.pick.matches('^((100|[1-9][0-9]?)%|all)$'))")
        .message("pick is a number from 1 on, a share such as `50%`, or `all`")
)]
pub struct Target {
    /// The labels that the pods have
    pub pods: Labels,
    /// A CEL expression over `pod` (the object) and `age` (a duration), such as `age > duration('5m')`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub r#where: Option<String>,
    /// The labels that the pods' nodes have
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Labels>,
    /// The containers that faults are for; if there are none, the whole pod
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)))]
    pub containers: Vec<String>,
    /// How many of the pods: a number, a share such as `50%` (rounded down, but one at least), or `all`; 1 by default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 8))]
    pub pick: Option<IntOrString>,
    /// What follows when a picked pod goes: another pod takes its place (the default), or none does
    #[serde(default)]
    pub replaced: Replaced,
}

/// Whether the place of a pod that goes is taken by another.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Replaced {
    #[default]
    Follow,
    Drop,
}
