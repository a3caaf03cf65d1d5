//! Defines what is done, one thing after the other.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One thing that is done: exactly one of `fault`, `pods`, `check` and `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.fault), has(self.pods), has(self.check), has(self.wait)].filter(x, x).size() == 1")
        .message("a step must have exactly one of fault, pods, check and wait"),
    validation = Rule::new("!has(self.timeout) || duration(self.timeout) > duration('0s')")
        .message("timeout must be longer than nothing"),
    validation = Rule::new("!has(self.pods) || !has(self.timeout) || duration(self.timeout) <= duration('1h')")
        .message("the timeout of a pods step must be at most 1h"),
    validation = Rule::new("!has(self.check) || !has(self.timeout) || duration(self.timeout) >= duration(self.check.__for__) && duration(self.timeout) <= duration('2h')")
        .message("the timeout of a check must be at least its for, and at most 2h")
)]
pub struct Step {
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitStep>,
    /// A condition in CEL, such as `probes.checkout.ok` or `probes.errors.value < 0.01`: where it does not hold when the
    /// step is to start, the step is skipped. Each probe has `ok`, `value`, `failed`, `errors` and `baseline`
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub condition: Option<String>,
    /// How long a fault may take until every picked pod is armed, 30s by default; how long the step `pods` may take,
    /// 2m by default; how long `check` may take, 2m more than its `for` by default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
    /// What follows when a picked pod cannot be armed, or is not removed in time, or when probes do not hold in time, or
    /// `if` cannot be evaluated: the run ends (the default), or goes on
    #[serde(default)]
    pub on_error: OnError,
}

/// Faults on the pods of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.__for__) > duration('0s') && duration(self.__for__) <= duration('1h')")
        .message("for must be longer than nothing and at most 1h")
)]
pub struct FaultStep {
    /// Which of the experiment's targets
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// Sentences of the fault language, such as `delay $(latency) egress tcp`, without `for`
    #[serde(rename = "do")]
    #[schemars(length(min = 1, max = 1024))]
    pub sentences: String,
    /// How long, from the beginning of the step
    #[serde(rename = "for")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub duration: String,
}

/// Removes the pods of a target, each of them once. What runs them makes others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.gracePeriod) || duration(self.gracePeriod) <= duration('1h')")
        .message("gracePeriod must be at most 1h")
)]
pub struct PodsStep {
    /// Which of the experiment's targets
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    pub action: PodAction,
    /// How long a pod has to end, in whole seconds, in place of its own `terminationGracePeriodSeconds`; `0s` kills it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(h|m|s))+$"))]
    pub grace_period: Option<String>,
}

/// How pods are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum PodAction {
    /// All of them at once
    Delete,
    /// Each as soon as its PodDisruptionBudgets allow it
    Evict,
    /// One after the other: the next one when as many pods of the target are ready as before
    Restart,
}

/// Waits until probes have held for some time without a break, `timeout` at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("duration(self.__for__) > duration('0s') && duration(self.__for__) <= duration('1h')")
        .message("for must be longer than nothing and at most 1h")
)]
pub struct CheckStep {
    /// The names of probes of the experiment
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 40)))]
    pub probes: Vec<String>,
    /// How long all of them must hold
    #[serde(rename = "for")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub duration: String,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("duration(self.__for__) > duration('0s') && duration(self.__for__) <= duration('1h')")
        .message("for must be longer than nothing and at most 1h")
)]
pub struct WaitStep {
    /// How long
    #[serde(rename = "for")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub duration: String,
}

/// What follows when a step fails.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum OnError {
    #[default]
    Halt,
    Continue,
}
