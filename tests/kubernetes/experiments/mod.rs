//! Experiments and runs on a real API server. The tests play the kubelets and, where nothing else is said, the agents.

mod abuses;
mod accounts;
mod armed;
mod expressions;
mod failures;
mod interleavings;
mod kinds;
mod peers;
mod probes;
mod removals;
mod rights;
mod roles;
mod runs;
mod samples;
pub(crate) mod scene;
mod service;
mod targets;
