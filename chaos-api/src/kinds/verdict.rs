//! Defines what is said of a run when it has ended: whether what was asked for was really done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether what was asked for was done, judged by what the kernels have counted, and by nothing else. What became of the
/// service is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Every picked pod was broken, and as much was hit as was asked for.
    Confirmed,
    /// Something else was done.
    Mismatch,
    /// There is no evidence.
    Inconclusive,
}

/// Why that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerdictReason {
    /// As asked for.
    AllInjected,
    /// Pods were refused.
    TargetsRefused,
    /// Some of the picked pods were never armed, or not removed.
    NotAllArmed,
    /// Events could not be hit that were to be.
    Lost,
    /// Agents had hung so long that their kernels let events pass.
    LeaseLapsed,
    /// Faults were over before their time.
    EndedEarly,
    /// Another share was hit than was asked for, and chance does not explain it.
    ShareOff,
    /// An agent has begun to count anew.
    LedgerGap,
    /// Nothing met the faults.
    NoTraffic,
    /// So little met them that a chance cannot be judged.
    LittleTraffic,
    /// Events met the faults, and none of them was hit.
    NothingHit,
    /// Calls were neither failed nor counted, too many to leave them out.
    CallsMissed,
    /// Only a plan was asked for.
    PlanOnly,
    /// No step that breaks pods has begun.
    NothingDone,
}

/// What says whether a step did what was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Evidence {
    /// The most pods that were armed at a time; or the pods that were removed
    pub armed: u32,
    /// The most pods that refused at a time
    pub refused: u32,
    /// The most pods at a time whose faults were over before the step was
    pub early: u32,
    /// An agent was started again meanwhile, and has counted anew
    pub gap: bool,
    /// Events for each of which a chance was taken
    pub drawn: u64,
    /// How many of these were to be hit, on average
    pub expected: f64,
    /// How many were
    pub hit: u64,
    /// Events that were spared because an agent had not renewed its lease
    pub lapsed: u64,
    /// Events that were spared because they could not be held or damaged
    pub unfit: u64,
    /// So many calls at most that the kernel's programs were not asked about
    pub missed: u64,
}
