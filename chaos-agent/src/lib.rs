//! chaos-agent: in-kernel fault injection, scoped to a cgroup.
//!
//! Data flows one way: fault text → [`fault`] model → plan → armed hooks → kernel decision →
//! ledger → status.

pub mod fault;
pub mod plan;
pub mod target;
