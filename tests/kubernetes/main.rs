//! Tests against a real API server: etcd and kube-apiserver, which `cargo xtask setup kube` makes.

mod control_plane;
