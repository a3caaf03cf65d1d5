//! Arming: a plan put into the kernel for a target, for as long as a guard lives.

mod armed;
mod armory;
mod interfaces;
mod keeper;
mod report;

pub use armed::{ArmError, Armed};
pub use armory::{ArmedId, Armory, Ended, Outcome, Request};
pub use keeper::{Handle, Keeper, KeeperGone, Notice};
pub use report::{Counts, FaultReport, Phase, TargetReport};
