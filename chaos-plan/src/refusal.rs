//! Why a fault is not done.

use chaos_fault::{Fault, Problem};
use serde::Serialize;

use super::sentence;

/// A fault that is not done, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Of the fault in the list that was planned, from 0.
    pub index: usize,
    #[serde(serialize_with = "sentence")]
    pub fault: Fault,
    /// What stands against it.
    pub reason: String,
    /// What would work instead, or what the machine would need.
    pub remedy: Option<String>,
}

/// A refusal before it is known of which fault of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objection {
    reason: String,
    remedy: Option<String>,
}

impl Objection {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: None }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// What keeps a fault from being well formed.
    pub(super) fn from_problem(Problem { mistake, .. }: Problem) -> Self {
        Self { remedy: mistake.remedy(), reason: mistake.message }
    }

    pub(super) fn about(self, index: usize, fault: &Fault) -> Refusal {
        Refusal { index, fault: fault.clone(), reason: self.reason, remedy: self.remedy }
    }
}

/// On one line, or with `{:#}` on two: the remedy on its own.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{:#}`: {}", self.fault, self.reason)?;
        match &self.remedy {
            Some(remedy) if f.alternate() => write!(f, "\n  help: {remedy}"),
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
