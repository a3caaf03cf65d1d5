//! Names of targets, as people and requests give them; whether they exist is not known here.

mod container_id;
mod container_name;
mod pod_uid;
mod spec;
mod unit_name;

pub use container_id::{ContainerId, FULL_LENGTH};
pub use container_name::ContainerName;
pub use pod_uid::PodUid;
pub use spec::TargetSpec;
use thiserror::Error;
pub use unit_name::UnitName;

/// A text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given:?} is not {expected}")]
pub struct Malformed {
    pub given: String,
    pub expected: &'static str,
}
