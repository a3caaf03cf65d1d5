//! Installs what the BPF object is compiled with, and runs the demonstration. Compiles in seconds, as each of
//! the project's commands would otherwise have to be compiled before somebody sees anything.

pub mod bpf;
pub mod command;
pub mod demo;
pub mod paths;
