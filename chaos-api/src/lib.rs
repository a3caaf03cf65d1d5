//! What is said of targets and faults between the parts of the agent, and to others: names, requests, reports, and
//! what an engine has to be able to do. Knows no kernel and no cluster.

#![forbid(unsafe_code)]

mod allowed_verbs;
pub mod clock;
mod engine;
#[cfg(feature = "kinds")]
pub mod kinds;
mod lease;
mod ledger;
mod ledgers;
mod node_features;
mod notice;
mod observer;
mod policy;
mod report;
mod request;
mod run;
mod target;

pub use allowed_verbs::{AllowedVerbs, UnknownVerb};
pub use engine::{Engine, Found};
pub use lease::{Lease, LeaseError, Leases, Noted, Withheld};
pub use ledger::SlotCounts;
pub use ledgers::{Closed, Ledgers};
pub use node_features::{Limits, NodeFeatures};
pub use notice::{Ended, Injection, Notice};
#[cfg(feature = "kinds")]
pub use observer::ControllerObserver;
pub use observer::{AgentObserver, RefusalCause, Unobserved};
pub use policy::{OWN_MEMORY, PROTECTED_NAMESPACES, Policy, PolicyError, TooManyTargets};
pub use report::{Counts, FaultReport, Phase, TargetReport};
pub use request::{ArmedId, FaultClock, ForeignClocks, Occupied, Outcome, Request, TAKEN_OVER};
pub use run::{NoRun, RunName};
pub use target::{
    ContainerId, ContainerName, FULL_LENGTH, Malformed, PodUid, TargetSpec, UnitName,
};
