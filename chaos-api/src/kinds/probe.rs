//! Defines what must hold while pods are broken: questions to a service, and what is expected of the answers.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A question that is asked before, while and after pods are broken, and what is expected of the answer: exactly one of
/// `http`, `tcp`, `prometheus`, `alertmanager`, `kubernetes` and `ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.http), has(self.tcp), has(self.prometheus), has(self.alertmanager), has(self.kubernetes), has(self.ledger)].filter(x, x).size() == 1")
        .message("a probe must have exactly one of http, tcp, prometheus, alertmanager, kubernetes and ledger"),
    validation = Rule::new("!(has(self.prometheus) || has(self.ledger)) || has(self.expect)")
        .message("prometheus and ledger must have expect"),
    validation = Rule::new("!has(self.ledger) || !has(self.every) && !has(self.recover) && self.tolerate == 0 && self.during == 'Halt'")
        .message("a ledger is judged once, when the last step has ended: it must have no every, tolerate, during or recover"),
    validation = Rule::new("!has(self.every) || duration(self.every) >= duration('1s') && duration(self.every) <= duration('10m')")
        .message("every must be 1s to 10m"),
    validation = Rule::new("!has(self.recover) || duration(self.recover) > duration('0s') && duration(self.recover) <= duration('1h')")
        .message("recover must be longer than nothing and at most 1h")
)]
pub struct Probe {
    /// What results, conditions of steps and reports call it
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerProbe>,
    /// What must hold, in CEL, such as `status == 200 && latency < duration('800ms')` or `value <= baseline * 1.2`. Where
    /// it is not said: a status below 400, a connection, no alert, objects that are as ready as they declare
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expect: Option<String>,
    /// Between two questions; 5s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub every: Option<String>,
    /// How many failures in a row are forgiven while pods are broken
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub tolerate: u32,
    /// What follows when it fails while pods are broken
    #[serde(default)]
    pub during: During,
    /// Within which time after the last step it must hold again; 30s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub recover: Option<String>,
}

/// What follows when a probe fails while pods are broken.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum During {
    /// The run ends, and its faults are taken away
    #[default]
    Halt,
    /// It is noted; whether it holds again afterwards decides
    Record,
    /// The hypothesis is that it fails, at least once
    MustBreak,
}

/// A request. Redirects are answers, and not followed. An expression has `status`, `latency`, `body`, `json` and
/// `headers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.body) && has(self.form))")
        .message("a request must not have both body and form"),
    validation = Rule::new("!has(self.timeout) || duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('30s')")
        .message("timeout must be longer than nothing and at most 30s")
)]
pub struct HttpProbe {
    /// `http://` or `https://`; `$(NAME)` is a parameter
    #[schemars(length(min = 1, max = 1024))]
    pub url: String,
    /// `GET` where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,
    /// Fields of a form, as browsers send them
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub form: BTreeMap<String, String>,
    /// Probes of the same session send the cookies that they were given. They are asked in their order
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub session: Option<String>,
    /// How long an answer is waited for, with its body; 5s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
    /// How much of a body is read, in bytes; 65536 where nothing is said. A longer one is an error
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub bytes: Option<u32>,
}

/// What is done to what the URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// A header of a request: exactly one of `value` and `secretKeyRef`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.secretKeyRef)")
        .message("a header must have exactly one of value and secretKeyRef")
)]
pub struct HttpHeader {
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Read with the rights of the experiment's service account
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A value of a Secret in the namespace of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretKeyRef {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A connection that is made and closed. An expression has `connected`, `latency`, and `value`, the latency in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.timeout) || duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('30s')")
        .message("timeout must be longer than nothing and at most 30s")
)]
pub struct TcpProbe {
    /// `HOST:PORT`, or `[IPv6]:PORT`; `$(NAME)` is a parameter
    #[schemars(length(min = 1, max = 512))]
    pub address: String,
    /// How long it may take; 5s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
}

/// An instant query. An expression has `value`, the one number of the answer, and `items`, all of them with `labels` and
/// `value`. An answer without a number is an error, and so is NaN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.timeout) || duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('30s')")
        .message("timeout must be longer than nothing and at most 30s")
)]
pub struct PrometheusProbe {
    /// PromQL; `$(NAME)` is a parameter
    #[schemars(length(min = 1, max = 2048))]
    pub query: String,
    /// Of the server, without `/api/v1/query`; where nothing is said, the controller's `--prometheus`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub url: Option<String>,
    /// How long an answer is waited for; 5s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
}

/// The alerts that fire. An expression has `items`, the alerts as Alertmanager's API v2 gives them, and `value`, their
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.timeout) || duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('30s')")
        .message("timeout must be longer than nothing and at most 30s")
)]
pub struct AlertmanagerProbe {
    /// Of the server, without `/api/v2/alerts`; where nothing is said, the controller's `--alertmanager`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub url: Option<String>,
    /// Which alerts, such as `severity="page"`; all where nothing is said
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub matchers: Vec<String>,
    /// How long an answer is waited for; 5s where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
}

/// Objects of the run's namespace, read with the rights of the experiment's service account. An expression has `items`,
/// and `value`, their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.name) && has(self.labels))")
        .message("objects must be named or selected by labels, not both")
)]
pub struct KubernetesProbe {
    /// Such as `apps/v1`; known for the kinds of Kubernetes itself
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub api_version: Option<String>,
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

/// What the kernels have counted. An expression has `matched`, `injected`, `shadowed`, `spared` and `lost`, and `value`,
/// the events that were injected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LedgerProbe {
    /// Of which step; of all where nothing is said
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub step: Option<String>,
}
