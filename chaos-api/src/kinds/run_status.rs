//! Defines what the controller writes about a run. It has a bound, however many pods there are: counts, and exceptions
//! in groups.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    Condition, Evidence, ExperimentSpec, Hypothesis, HypothesisReason, ProbeStatus, Verdict,
    VerdictReason,
};

/// How far a run is, and what it has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub phase: RunPhase,
    /// Why it has ended; or why it ends, while its faults are being taken away and its probes must hold again
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in words
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it has ended: whether what was asked for was really done, by what the kernels have counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict_reason: Option<VerdictReason>,
    /// The same in words
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verdict_message: String,
    /// When it has ended, and has probes: whether what must hold held, by the probes alone
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<Hypothesis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis_reason: Option<HypothesisReason>,
    /// The same in words
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hypothesis_message: String,
    /// The copy of the experiment that is run, whatever becomes of the experiment
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "unchecked")]
    pub spec: Option<ExperimentSpec>,
    #[serde(default)]
    pub steps: Vec<StepStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeStatus>,
    /// Since when nothing is broken any more, and the probes must hold again
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovering: Option<Time>,
    #[serde(default)]
    pub summary: Summary,
    /// Of the step that runs, or of the last
    #[serde(default)]
    pub targets: TargetCounts,
    /// Of all steps and pods together
    #[serde(default)]
    pub ledger: LedgerSums,
    /// What went otherwise, grouped by message, the most frequent first; at most 50
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionStatus>,
    /// The ConfigMap that has what became of each pod; it is written every minute and when the run ends
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    /// The probes are asked before anything is broken.
    Baseline,
    Running,
    /// The steps have ended, and the probes must hold again.
    Recovering,
    Finished,
}

/// Why a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// Every step was done.
    Completed,
    /// It was only to be planned, and it could be done.
    Planned,
    /// It was refused before anything was touched.
    Refused,
    /// A step could not be done, and nothing was to be done without it.
    StepFailed,
    /// A probe failed, or had no answer, before anything was broken: nothing was.
    BaselineBroken,
    /// A probe failed while pods were broken.
    ProbeBroke,
    /// A probe had no answer three times in a row, or none for too long.
    ProbeBlind,
    /// Somebody halted it.
    Halted,
    /// The experiment was deleted.
    ExperimentDeleted,
}

/// How far a step is. It is written before the step acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    pub name: String,
    pub phase: StepPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When its faults end, or its pause does; until when its pods must be removed, or its probes must have held
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Time>,
    /// How many pods were picked when it started: never more are armed at a time, or removed
    #[serde(default, skip_serializing_if = "is_zero")]
    pub picked: u32,
    /// With `replaced: Drop`, the largest hash of a pod that was picked: no pod beyond it is armed later
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hash: Option<String>,
    /// While a step removes pods, the hashes of those that were picked: no other pod is removed
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Of a step that restarts pods, how many pods of its target were ready when it started
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready: u32,
    #[serde(default)]
    pub ledger: LedgerSums,
    /// What the verdict goes by
    #[serde(default)]
    pub evidence: Evidence,
}

/// Where a step is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    Pending,
    Running,
    Done,
    Failed,
    /// Its `if` did not hold.
    Skipped,
}

/// For people, in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// `armed/picked`, or `removed/picked`
    #[serde(default)]
    pub targets: String,
}

/// Pods by what has become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// That the target's labels, nodes and expression select, and that are ready
    pub selected: u32,
    /// On how many nodes those are that were picked
    pub nodes: u32,
    /// Whose agent says that the faults are in force
    pub armed: u32,
    /// Whose agent has not answered yet, or that are still to be removed
    pub waiting: u32,
    /// Whose agent, or whose plan, has refused them; or that the API server did not remove
    pub refused: u32,
    /// Whose agent says that their time is over, or that are removed
    pub ended: u32,
}

/// Sums of the ledgers of pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerSums {
    pub matched: u64,
    pub injected: u64,
    pub shadowed: u64,
    pub spared: u64,
    pub lost: u64,
}

/// Something that happened to `count` pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExceptionStatus {
    pub count: u32,
    pub message: String,
    /// One of them
    pub example: String,
}

/// What was checked when it was copied needs no rules once more.
fn unchecked(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
