//! Arming: a plan put into the kernel for a target, for as long as a guard lives.

mod armed;
mod armory;
mod claim;
mod claims;
mod engine;
mod filtered;
mod filters;
mod frames;
mod interfaces;
mod lease;
mod line;
mod news;
mod open_files;
mod retired;
mod sample;
mod shared_programs;
mod symlinks;
mod translations;
mod turn;
mod unmatched;

pub use armed::{ArmError, Armed};
pub use armory::{Armory, Request};
pub use filtered::{FilteredContainer, features_for};
pub use filters::collect_filters;
pub use symlinks::{Eyes, path_notes};
