//! Experiments and runs on a real API server. The tests play the kubelets and, where nothing else is said, the agents.

mod abuses;
mod accounts;
mod armed;
mod expressions;
mod failures;
mod grafana;
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
pub(crate) mod service;
mod targets;
