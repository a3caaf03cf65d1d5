//! What the integration tests share.
//!
//! - *Guards* ([`cgroup::TestCgroup`], [`netns::TestNetns`], [`process::Process`]) make the
//!   surroundings of a fault and take them away again, also when a test panics or is killed.
//! - *Victims* ([`victim::Victim`]) are real processes that do one [job](job::Job) inside such
//!   surroundings and report exactly what they saw.
//! - A [control plane](control_plane::ControlPlane) is what the agent meets in a cluster, and a
//!   [node](node::Node) is where it runs there.
//! - *Judges* ([`residue::Snapshot`], [`stats::binomial_interval`], [`requirements`]) tell whether
//!   something was left behind, whether a count is plausible and whether a test can run here.
//!
//! Everything here needs root and works only on cgroups and network namespaces of its own.

pub mod cgroup;
pub mod clock;
pub mod control_plane;
pub mod helm;
pub mod injector;
pub mod job;
pub mod kubelet;
pub mod machine;
pub mod netns;
pub mod node;
pub mod ordinals;
pub mod overlay;
pub mod payload;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod requirements;
pub mod residue;
pub mod stats;
pub mod tally;
pub mod victim;
