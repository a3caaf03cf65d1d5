//! Arming: a plan put into the kernel for a target, for as long as a guard lives.

mod armed;
mod armory;
mod audience;
mod claim;
mod claims;
mod engine;
mod filtered;
mod filters;
mod frames;
mod interfaces;
mod keeper;
mod lease;
mod line;
mod notice;
mod open_files;
mod report;
mod retired;
mod sample;
mod symlinks;
mod translations;
mod turn;
mod unmatched;

pub use armed::{ArmError, Armed};
pub use armory::{ArmedId, Armory, Outcome, Request};
pub use claim::{ForeignClocks, Occupied, TAKEN_OVER};
#[cfg(test)]
pub(crate) use engine::fake;
pub use engine::{Engine, Found};
pub use filtered::{FilteredContainer, features_for};
pub use filters::collect_filters;
pub use keeper::{Handle, Keeper, KeeperGone};
pub use lease::{Leases, Withheld};
pub use notice::{Ended, Injection, Notice};
pub use report::{Counts, FaultReport, Phase, TargetReport};
pub use symlinks::{Eyes, path_notes};
