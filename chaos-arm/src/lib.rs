//! Keeps targets armed: the thread that owns an engine, its leases and its tethers, and whoever listens to it. It
//! takes any engine, so it is tested without a kernel.

#![forbid(unsafe_code)]

mod audience;
mod closed;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod keeper;
mod news;

pub use keeper::{Handle, Keeper, KeeperGone};
