//! Tests against a real API server: etcd and kube-apiserver, which `cargo xtask setup kube` makes.

mod agent;
mod allowed;
mod annotation;
mod answers;
mod capabilities;
mod chart;
mod cluster;
mod container;
mod control_plane;
mod ends;
mod experiments;
mod features;
mod handover;
mod interruptions;
mod kinds;
mod kubectl;
mod latency;
mod manifests;
mod metrics;
mod partition;
mod rights;
