//! Names that users, manifests and agents rely on.

use chaos_api::kinds::Run;
/// The Lease by which one controller leads. It is also the guard of agents, whose annotations say what is halted
/// and how many pods have faults.
pub use chaos_kube::{ARMED_PODS, GUARD as LEASE, HALT, HALTED_RUNS};
use kube::ResourceExt as _;

/// Who writes the fault annotation of pods, and the status of experiments and runs.
pub const FIELD_MANAGER: &str = "chaos-controller";

/// The label and its value that pods of the agent have.
pub const AGENT_LABEL: (&str, &str) = ("app.kubernetes.io/name", "chaos-agent");

/// The annotations by which a namespace says what runs may do there at most.
pub const MAX_SHARE: &str = "chaos-agent.dev/max-share";
pub const MAX_DURATION: &str = "chaos-agent.dev/max-duration";
pub const HOURS: &str = "chaos-agent.dev/hours";

/// The label of ConfigMaps with reports.
pub const REPORT_LABEL: &str = "chaos-agent.dev/report";

/// A run as agents are told of it.
pub fn full_name(run: &Run) -> String {
    format!("{}/{}", run.namespace().unwrap_or_default(), run.name_any())
}

/// What no other run has; nothing of one that no server has seen.
pub fn uid(run: &Run) -> &str {
    run.metadata.uid.as_deref().unwrap_or_default()
}
