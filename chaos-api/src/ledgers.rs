//! Hands over whole ledgers to whoever sums them up.

use crate::{ArmedId, TargetReport};

/// A ledger to which nothing is added any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Of a target that is not armed any more. Missing where the kernel did not let it be read.
    Target(ArmedId, Option<TargetReport>),
    /// Of those faults of a target that others have replaced.
    Faults(TargetReport),
}

/// What has been counted, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledgers {
    /// What was closed since these were handed over before, in its order.
    pub closed: Vec<Closed>,
    /// How many more were closed than are kept.
    pub dropped: u64,
    /// What is armed, if that was asked for. A ledger that could not be read is missing.
    pub armed: Option<Vec<(ArmedId, Option<TargetReport>)>>,
}
