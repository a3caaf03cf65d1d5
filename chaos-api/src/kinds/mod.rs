//! Declares the kinds of a cluster: an [`Experiment`] says what is to be broken, a [`Run`] is one execution of it.
//!
//! The API server checks their form by the rules in the definitions that are made of these types
//! (`manifests/controller/crds.yaml`). What it cannot check, such as the sentences, the controller does. A field is
//! here only if the controller reads or writes it.

mod condition;
mod experiment;
mod hypothesis;
mod limits;
mod peer;
mod probe;
mod run;
mod run_status;
mod selector;
mod step;
mod target;
mod verdict;

pub use condition::Condition;
pub use experiment::{Experiment, ExperimentSpec, ExperimentStatus, Keep, Param, ProbesFrom};
pub use hypothesis::{Hypothesis, HypothesisReason, ProbeState, ProbeStatus};
pub use limits::{DisruptionBudgets, Limits};
pub use peer::Peer;
pub use probe::{
    AlertmanagerProbe, During, HttpHeader, HttpMethod, HttpProbe, KubernetesProbe, LedgerProbe,
    Probe, PrometheusProbe, SecretKeyRef, TcpProbe,
};
pub use run::{Mode, Run, RunSpec};
pub use run_status::{
    ExceptionStatus, LedgerSums, Reason, RunPhase, RunStatus, StepPhase, StepStatus, Summary,
    TargetCounts,
};
pub use selector::{LabelValue, Labels, Operator, Requirement};
pub use step::{CheckStep, FaultStep, OnError, PodAction, PodsStep, Step, WaitStep};
pub use target::{Owner, OwnerKind, Replaced, Target};
pub use verdict::{Evidence, Verdict, VerdictReason};
