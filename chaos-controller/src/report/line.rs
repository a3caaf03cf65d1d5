//! Defines the lines of a report.

use chaos_api::kinds::LedgerSums;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::pods::PodFacts;

/// What has become of a pod in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub step: String,
    pub state: State,
    /// What its agent has counted.
    #[serde(flatten)]
    pub counts: LedgerSums,
    /// Why it was not armed, or not removed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// How far a pod is, or was when it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// In order of what is kept where there is no room for all.
    Refused,
    Waiting,
    Armed,
    Ended,
    Removed,
}

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    Record(Record),
    Pod(Line),
}

impl Line {
    /// Of a pod in a step.
    pub fn of(pod: &PodFacts, step: &str, state: State) -> Self {
        Self {
            namespace: pod.name.namespace.clone(),
            pod: pod.name.name.clone(),
            uid: pod.uid.clone(),
            node: pod.node.clone(),
            step: step.to_owned(),
            state,
            counts: LedgerSums::default(),
            refusal: None,
        }
    }
}
