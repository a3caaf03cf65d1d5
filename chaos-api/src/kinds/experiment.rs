//! Defines the kind Experiment: what is to be broken, and within which limits. Applying or editing one breaks nothing.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Condition, Limits, Peer, Probe, Step, Target};

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "chaos-agent.dev",
    version = "v1alpha1",
    kind = "Experiment",
    plural = "experiments",
    shortname = "cx",
    category = "chaos",
    namespaced,
    status = "ExperimentStatus",
    derive = "PartialEq",
    doc = "What is to be broken, and within which limits. A Run does it.",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.steps) || self.steps.all(s, !has(s.fault) || has(self.targets) && s.fault.target in self.targets)")
        .message("a fault's target must be one of the experiment's targets"),
    validation = Rule::new("!has(self.steps) || self.steps.all(s, !has(s.pods) || has(self.targets) && s.pods.target in self.targets)")
        .message("the target of pods must be one of the experiment's targets"),
    validation = Rule::new("!has(self.steps) || self.steps.all(s, self.steps.exists_one(t, t.name == s.name))")
        .message("names of steps must differ"),
    validation = Rule::new("has(self.steps) || has(self.probes)")
        .message("an experiment must have steps, or probes for others, or both"),
    validation = Rule::new("!has(self.probes) || self.probes.all(p, self.probes.exists_one(q, q.name == p.name))")
        .message("names of probes must differ"),
    validation = Rule::new("!has(self.steps) || has(self.probesFrom) || self.steps.all(s, !has(s.check) || has(self.probes) && s.check.probes.all(name, self.probes.exists(p, p.name == name)))")
        .message("the probes of a check must be probes of the experiment")
)]
pub struct ExperimentSpec {
    /// Values of `$(NAME)` in sentences and probes; a Run may give others
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub params: BTreeMap<String, Param>,
    /// Which pods, by the names that steps use
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "minProperties" = 1))]
    pub targets: BTreeMap<String, Target>,
    /// What is at the other end of the traffic, by the names that sentences use behind `@`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub peers: BTreeMap<String, Peer>,
    #[serde(default)]
    pub limits: Limits,
    /// What is believed of the service, in words, for people
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub hypothesis: String,
    /// What must hold before, while and after pods are broken
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub probes: Vec<Probe>,
    /// Experiments of the same namespace whose probes must hold, too, with the values that their own `params` have
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub probes_from: Vec<ProbesFrom>,
    /// With whose rights probes read objects and Secrets; the controller may be it only where somebody has allowed that
    /// by a RoleBinding
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service_account_name: Option<String>,
    /// How much of the history is kept
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// One after the other. An experiment without steps is a library of probes, for `probesFrom` of others
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub steps: Vec<Step>,
}

/// A library of probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProbesFrom {
    /// The name of an experiment
    #[schemars(length(min = 1, max = 253))]
    pub experiment: String,
}

/// What is kept of an experiment's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Keep {
    /// How many finished runs; older ones are deleted. 30 where nothing is said
    #[schemars(range(min = 1, max = 1000))]
    pub finished: u32,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Param(#[schemars(length(max = 256))] pub String);

/// What the controller says of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExperimentStatus {
    /// `Accepted`: whether its sentences and expressions can be read
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
