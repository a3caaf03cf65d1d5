//! Tests on the running kernel. They need root, cgroup v2 and iproute2.

mod agent;
mod calls;
mod chance;
mod checksums;
mod daemon;
mod death;
mod features;
mod frames;
mod guards;
mod healthy;
mod matchers;
mod packets;
mod pair;
mod program;
mod replacement;
mod scope;
mod seccomp;
mod triggers;
