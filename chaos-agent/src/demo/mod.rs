//! The demonstration: a client and a server on this machine, broken and healed, fault by fault. What the client
//! saw stands beside what the kernel counted, and beside what the client's neighbour saw, whom no fault is
//! for.
//!
//! Everything is made for it and goes away with it: cgroups, network namespaces, processes.

mod acts;
mod error;
mod hosts;
mod injector;
mod job;
mod process;
mod recovery;
mod residue;
mod traffic;
mod victim;

pub use acts::{Act, Outcome, Performed, acts, healthy};
pub use error::DemoError;
pub use hosts::{CLIENT, Hosts, NETWORK, SERVER};
pub use job::{Job, Report};
pub use recovery::{KILLED, Recovery, kill_the_agent};
pub use residue::Residue;
pub use traffic::{Seen, Traffic};
pub use victim::work;
