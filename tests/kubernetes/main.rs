//! Tests against a real API server: etcd and kube-apiserver, which `cargo xtask setup kube` makes.

mod agent;
mod annotation;
mod cluster;
mod control_plane;
mod interruptions;
mod latency;
mod manifests;
