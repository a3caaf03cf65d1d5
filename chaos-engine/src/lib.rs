//! Puts plans into the kernel: cgroups, BPF programs and maps, interfaces, supervisors of system calls, and the
//! armory that has them all. The only crate with `unsafe` beside the BPF object's.

pub mod arm;
pub mod cgroup;
pub mod descriptors;
pub mod kernel;
pub mod seccomp;
