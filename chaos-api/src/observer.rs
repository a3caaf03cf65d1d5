//! Tells what an agent and a controller do to whoever measures it. Nothing waits for an observer but the task that tells
//! it, never the keeper's thread.

use std::time::Duration;

/// Why faults were not armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCause {
    /// The text cannot be read, or has no fault.
    Text,
    /// The node or the namespace does not allow it, or what the node allows is used up.
    Policy,
    /// The target, or a pod that a fault names, is not there or is never a target.
    Target,
    /// The planner refuses it on this kernel.
    Plan,
    /// What is armed already does not go together with it.
    Occupied,
    /// The kernel refused.
    Failed,
}

impl RefusalCause {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Policy, Self::Target, Self::Plan, Self::Occupied, Self::Failed];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Policy => "policy",
            Self::Target => "target",
            Self::Plan => "plan",
            Self::Occupied => "occupied",
            Self::Failed => "failed",
        }
    }
}

/// Whoever measures an agent.
pub trait AgentObserver: Send + Sync {
    /// Faults of a target or a pod were armed, this long after the keeper was asked.
    fn armed(&self, took: Duration);
    /// Faults were refused.
    fn refused(&self, cause: RefusalCause);
    /// The API server was heard, while every watch was in order.
    fn heard(&self);
    /// When the guard's Lease was found, or moved last (boot clock, ns), if there is one.
    fn guard_moved(&self, at: Option<u64>);
}

/// Whoever measures a controller.
#[cfg(feature = "kinds")]
pub trait ControllerObserver: Send + Sync {
    /// Everything was listed once.
    fn synced(&self);
    /// The loop has looked. `runs` are all that there are, where this controller leads.
    fn looked(&self, runs: Option<Vec<std::sync::Arc<crate::kinds::Run>>>);
    /// A status was written; `is_halted` while the whole cluster is.
    fn wrote(
        &self,
        before: Option<&crate::kinds::RunStatus>,
        run: &crate::kinds::Run,
        is_halted: bool,
    );
    /// The API server has answered to a change of a pod's annotation, with this code of HTTP; `None` where no answer came.
    fn annotated(&self, code: Option<u16>);
    /// A probe was asked, and has answered or not within this time.
    fn asked(&self, took: Duration);
}

/// Measures nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl AgentObserver for Unobserved {
    fn armed(&self, _: Duration) {}
    fn refused(&self, _: RefusalCause) {}
    fn heard(&self) {}
    fn guard_moved(&self, _: Option<u64>) {}
}

#[cfg(feature = "kinds")]
impl ControllerObserver for Unobserved {
    fn synced(&self) {}
    fn looked(&self, _: Option<Vec<std::sync::Arc<crate::kinds::Run>>>) {}
    fn wrote(&self, _: Option<&crate::kinds::RunStatus>, _: &crate::kinds::Run, _: bool) {}
    fn annotated(&self, _: Option<u16>) {}
    fn asked(&self, _: Duration) {}
}
