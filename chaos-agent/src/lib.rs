//! chaos-agent: in-kernel fault injection, scoped to a cgroup.
//!
//! Data flows one way: fault text → model ([`chaos_fault`]) → plan ([`chaos_plan`]) → armed hooks ([`arm`]) → kernel
//! decision ([`kernel`]) → ledger → status.

pub mod arm;
pub mod clock;
pub mod control;
pub mod demo;
pub mod descriptors;
pub mod kernel;
#[cfg(feature = "cluster")]
pub mod kube;
pub mod ledger;
pub mod policy;
pub mod seccomp;
pub mod target;
