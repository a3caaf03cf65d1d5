//! Names that users and manifests rely on.

use std::fmt;

/// Pod annotation: the faults, as text or YAML. Written by users, never by the agent.
pub const FAULTS: &str = "chaos-agent.dev/faults";

/// Pod annotation: the agent's answer, a [`super::Status`] as JSON.
pub const STATUS: &str = "chaos-agent.dev/status";

/// Label of a namespace whose pods may be targets; its value is `true`.
pub const ENABLED: &str = "chaos-agent.dev/enabled";

/// Annotation of the agent's own pod: a [`chaos_api::NodeFeatures`] as JSON.
pub const FEATURES: &str = "chaos-agent.dev/features";

/// The field manager of [`FEATURES`].
pub(super) const FEATURES_MANAGER: &str = "chaos-agent-features";

/// The Lease by which the controller leads and guards, in the agent's own namespace.
pub const GUARD: &str = "chaos-controller";

/// Annotation of the Lease: why everything that annotations ask for is halted. An empty value lifts that.
pub const HALT: &str = "chaos-agent.dev/halt";

/// Annotation of the Lease: the Runs that are halted, `NAMESPACE/RUN` with commas between.
pub const HALTED_RUNS: &str = "chaos-agent.dev/halted-runs";

/// Annotation of the Lease: how many pods of the cluster have faults, or are about to. The more there are, the less often
/// agents write counts.
pub const ARMED_PODS: &str = "chaos-agent.dev/armed-pods";

/// Annotation of a namespace: the verbs that the annotations of its pods may use, with commas between; `default` stands
/// for all that are not destructive, as without it.
pub const ALLOW_VERBS: &str = "chaos-agent.dev/allow-verbs";

/// The field manager of what the agent writes.
pub const FIELD_MANAGER: &str = "chaos-agent";

/// The owner under which pods are tethered ([`chaos_arm::Handle::tether`]): the part of their
/// ids before the colon.
pub(super) const OWNER: &str = chaos_api::TAKEN_OVER;

/// A pod's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
