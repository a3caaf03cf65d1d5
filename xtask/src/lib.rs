//! What the commands share with the tests: where the project keeps the tools that it builds, and what its
//! benchmark measures.

pub mod figures;
pub mod go_module;
pub mod helm_binary;
pub mod kube_binaries;
pub mod node;
pub mod node_binaries;
pub mod prometheus_binaries;

pub use chaos_toolchain::paths;
