//! Tests on the running kernel. They need root, cgroup v2 and iproute2.

mod agent;
mod calls;
mod checksums;
mod guards;
mod healthy;
mod packets;
mod pair;
