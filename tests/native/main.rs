//! Tests on the running kernel. They need root, cgroup v2 and iproute2.

mod guards;
mod healthy;
