//! Defines the kind Run: one execution of an experiment. Nothing of it changes once it is made, but for its halt.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ExperimentSpec, RunStatus, experiment::Param};

/// Which experiment is run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "chaos-agent.dev",
    version = "v1alpha1",
    kind = "Run",
    plural = "runs",
    shortname = "cxr",
    category = "chaos",
    namespaced,
    status = "RunStatus",
    derive = "PartialEq",
    doc = "One execution of an Experiment, or of what is written in it.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a run must have at most 63 characters"),
    printcolumn = r#"{"name": "Experiment", "type": "string", "jsonPath": ".spec.experiment"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "priority": 1}"#,
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "Targets", "type": "string", "jsonPath": ".status.summary.targets"}"#,
    printcolumn = r#"{"name": "Injected", "type": "integer", "jsonPath": ".status.ledger.injected"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason"}"#,
    printcolumn = r#"{"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"}"#,
    printcolumn = r#"{"name": "Hypothesis", "type": "string", "jsonPath": ".status.hypothesis"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.experiment) != has(self.inline)")
        .message("a run must have exactly one of experiment and inline"),
    validation = Rule::new("!has(self.inline) || !has(self.inline.keep)")
        .message("keep is a field of experiments; a run must have none"),
    validation = Rule::new("!has(self.inline) || has(self.inline.steps)")
        .message("a run must have steps; probes alone are for probesFrom of experiments"),
    validation = Rule::new("has(self.experiment) == has(oldSelf.experiment) && (!has(self.experiment) || self.experiment == oldSelf.experiment)")
        .message("the experiment of a run must not change; make another run"),
    validation = Rule::new("has(self.inline) == has(oldSelf.inline) && (!has(self.inline) || self.inline == oldSelf.inline)")
        .message("what a run does must not change; make another run"),
    validation = Rule::new("has(self.params) == has(oldSelf.params) && (!has(self.params) || self.params == oldSelf.params)")
        .message("the params of a run must not change; make another run"),
    validation = Rule::new("self.mode == oldSelf.mode")
        .message("the mode of a run must not change; make another run"),
    validation = Rule::new("!oldSelf.halt || self.halt")
        .message("a halted run must stay halted; make another run")
)]
pub struct RunSpec {
    /// The name of an experiment in the run's namespace
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub experiment: Option<String>,
    /// What is done, in place of an experiment's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<ExperimentSpec>,
    /// Values of `$(NAME)` in sentences and probes, before those of the experiment; not of probes that are asked with the
    /// rights of its service account
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub params: BTreeMap<String, Param>,
    /// `Armed` (the default); `Shadow`: the kernel counts what would have been done, and does nothing; `Plan`: nothing
    /// is touched, and the status says what would be
    #[serde(default)]
    pub mode: Mode,
    /// Ends the run and takes its faults away, for good
    #[serde(default)]
    pub halt: bool,
}

/// How much of a run is done.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Mode {
    Plan,
    Shadow,
    #[default]
    Armed,
}
