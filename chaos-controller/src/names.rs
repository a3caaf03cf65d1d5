//! Names that users, manifests and agents rely on.

/// Who writes the fault annotation of pods, and the status of experiments and runs.
pub const FIELD_MANAGER: &str = "chaos-controller";

/// The Lease by which one controller leads. It is also the guard: agents end guarded faults when it stands still.
pub const LEASE: &str = "chaos-controller";

/// Annotation of the Lease: why the whole cluster is halted. An empty value lifts that.
pub const HALT: &str = "chaos-agent.dev/halt";

/// Annotation of the Lease: the runs whose faults agents end at once, `NAMESPACE/RUN` with commas between.
pub const HALTED_RUNS: &str = "chaos-agent.dev/halted-runs";

/// Pod annotation of an agent: what its kernel can do, and its version.
pub const FEATURES: &str = "chaos-agent.dev/features";

/// The label and its value that pods of the agent have.
pub const AGENT_LABEL: (&str, &str) = ("app.kubernetes.io/name", "chaos-agent");
