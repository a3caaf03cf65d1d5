//! Defines which pods are meant, and how many of them are picked.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Labels;

/// Pods of the experiment's namespace, or of `namespaces`. Only pods that are ready are picked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.pick) || (type(self.pick) == int ? self.pick > 0 : self.pick.matches('^((100|[1-9][0-9]?)%(-(100|[1-9][0-9]?)%)?|all)$'))")
        .message("pick must be a number from 1 on, a share such as `50%`, a range of shares such as `10%-30%`, or `all`"),
    validation = Rule::new("has(self.pods) || has(self.owner)")
        .message("a target must have pods, or owner, or both")
)]
pub struct Target {
    /// The labels that the pods have
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Labels>,
    /// The workload that the pods belong to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Where the pods are, in place of the experiment's own namespace. Only in the namespace of the agents
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
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
    /// How many of the pods: a number, a share such as `50%` (rounded down, but one at least), a share that each run
    /// draws from a range such as `10%-30%`, or `all`; 1 by default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 9))]
    pub pick: Option<IntOrString>,
    /// What follows when a picked pod goes: another pod takes its place (the default), or none does
    #[serde(default)]
    pub replaced: Replaced,
}

/// A workload. Its pods are those that it controls, directly or through a ReplicaSet or a Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Owner {
    pub kind: OwnerKind,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kinds of workloads whose pods can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum OwnerKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    CronJob,
}

impl OwnerKind {
    /// The API group and the name of the kind, as in owner references.
    pub fn group_and_kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apps", "Deployment"),
            Self::StatefulSet => ("apps", "StatefulSet"),
            Self::DaemonSet => ("apps", "DaemonSet"),
            Self::ReplicaSet => ("apps", "ReplicaSet"),
            Self::Job => ("batch", "Job"),
            Self::CronJob => ("batch", "CronJob"),
        }
    }
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
