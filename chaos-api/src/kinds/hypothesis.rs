//! Defines what is said of the service when a run has ended: whether the probes held.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether what must hold held, judged by the probes, and by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Hypothesis {
    /// Each probe did as it was expected to, before, during and after.
    Held,
    /// At least one did not.
    Deviated,
    /// Nobody can tell.
    Unknown,
}

/// Why that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HypothesisReason {
    /// As expected.
    AllHeld,
    /// A probe failed while pods were broken.
    ProbeBroke,
    /// A probe that must fail while pods are broken did not.
    NeverBroke,
    /// A probe did not hold again in time after the last step.
    NotRecovered,
    /// A probe failed before anything was broken.
    BaselineBroken,
    /// A probe had no answer three times in a row, or none for too long.
    ProbeBlind,
    /// A probe had no usable answer at least once, or none while pods were broken, so nobody knows whether it failed;
    /// this does not count of a probe that had to fail, and did.
    ProbeErrors,
    /// The run ended before its steps did.
    Cut,
    /// Only a plan was asked for, or nothing was done.
    NothingDone,
}

/// What a probe has seen. A new leader goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeStatus {
    pub name: String,
    pub state: ProbeState,
    /// Since when the answers have been the same: as expected, or not, or none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When it was asked last
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Time>,
    /// Questions that were answered or not, in all
    pub checks: u32,
    /// Answers that were not as expected
    pub failed: u32,
    /// Questions without a usable answer
    pub errors: u32,
    /// The failures since the last answer that was as expected
    pub failed_in_a_row: u32,
    /// The errors since the last answer
    pub errors_in_a_row: u32,
    /// Answers, as expected or not, to questions that were asked while pods were broken
    pub while_broken: u32,
    /// Failures, while pods were broken, beyond those that are forgiven
    pub broke: u32,
    /// What was seen last, such as `200, 231ms`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last: String,
    /// The last that was seen and not expected, or the last error
    #[serde(skip_serializing_if = "String::is_empty")]
    pub worst: String,
    /// The number that was seen last: the latency in seconds of http and tcp, the `value` of the others
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// It has held again since nothing is broken any more
    #[serde(skip_serializing_if = "is_false")]
    pub recovered: bool,
    /// The median of the numbers that were seen before anything was broken
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

/// What came of the last question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeState {
    /// It was not asked yet.
    #[default]
    Unasked,
    Pass,
    Fail,
    /// There is no answer, or none that can be judged.
    Error,
}

fn is_false(is: &bool) -> bool {
    !is
}
