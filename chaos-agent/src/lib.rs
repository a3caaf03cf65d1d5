//! chaos-agent: in-kernel fault injection, scoped to a cgroup.
//!
//! Data flows one way: fault text → model ([`chaos_fault`]) → plan ([`chaos_plan`]) → armed hooks and kernel decision
//! ([`chaos_engine`]) → ledger → status.

pub mod control;
pub mod demo;
pub mod successor;

use chaos_engine::arm::Armory;

/// The keeper of what is armed in this machine's kernel.
pub type Keeper = chaos_arm::Keeper<Armory>;
/// A way to it.
pub type Handle = chaos_arm::Handle<Armory>;
