//! Tests on the running kernel. They need root, cgroup v2 and iproute2.
//!
//! The lab runs them on its kernels, too, but for three kinds that would only show again what they
//! show here: those in `program`, about what the agent says, those in `healthy`, about the victims, and
//! those in a module `repeated`, which do one thing so often that it would take minutes there.
//! Clients, programs that copy, databases, containers and classes of calls take minutes, too, and run there when
//! they are named.

mod agent;
mod calls;
mod chance;
mod checksums;
mod clients;
mod clsact;
mod combined;
mod compiler;
mod copies;
mod crowded;
mod daemon;
mod damage;
mod databases;
mod death;
mod delays;
mod dns;
mod duplicates;
mod everyone;
mod features;
mod forms;
mod forwarding;
mod frames;
mod guards;
mod healthy;
mod held;
mod latencies;
mod layers;
mod limits;
mod loads;
mod matchers;
mod name_server;
mod namespaces;
mod nat;
mod ours;
mod packets;
mod pair;
mod paths;
mod program;
mod replacement;
mod resets;
mod runtime;
mod scope;
mod seccomp;
mod sharing;
mod storm;
mod symlinks;
mod syscalls;
mod texts;
mod translated;
mod triggers;
