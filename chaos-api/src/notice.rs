//! What is told to whoever listens to the keeper.

use std::sync::Arc;

use chaos_ebpf_common::record::Record;
use serde::{Deserialize, Serialize};

use crate::{ArmedId, TargetReport};

/// A target that is no longer armed, its last ledger, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub id: ArmedId,
    pub why: String,
    /// Because the cgroup of the target is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gone: bool,
    /// Missing where the kernel did not let it be read.
    pub report: Option<TargetReport>,
}

/// Something that was done to a victim, or would have been done by a shadow fault.
#[derive(Debug, Clone)]
pub struct Injection {
    pub id: ArmedId,
    /// The target's name.
    pub target: Arc<str>,
    /// The canonical sentence.
    pub fault: Arc<str>,
    pub record: Record,
}

/// What happened, told to every subscriber in the order of its happening.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A target is no longer armed, and nobody asked for that.
    Ended(Ended),
    /// A target was disarmed because somebody asked for it.
    Disarmed(Ended),
    /// A sample; the ledger has them all.
    Injected(Injection),
    /// So many injections of a target are missing from the sample.
    Lost(ArmedId, u64),
}
