//! `setup [PART...]`: installs what the machine lacks.

pub mod build;
mod go;
mod image;
pub mod kube;
mod lab;
mod node;
mod packages;
mod prometheus;
pub mod system;

use std::time::Instant;

use anyhow::{Context as _, Result};
use chaos_toolchain::bpf::{self, progress};
use clap::ValueEnum;

#[derive(clap::Args, Default)]
pub struct Args {
    /// The parts to set up; all of them when none is named
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What the BPF object is compiled with: nightly, bpf-linker
    Bpf,
    /// The same, and what the static agent is compiled with: the musl target
    Build,
    /// The standard library of the architecture that the agent is checked for besides
    Aarch64,
    /// Debian packages that the tests, the demo and the benchmark use
    System,
    /// etcd, kube-apiserver, kubectl and helm, for tests against a real API server and the chart
    Kube,
    /// Prometheus, for tests of the metrics
    Prometheus,
    /// The C compiler of the static target, for the agent's image
    Image,
    /// QEMU and what the kernels of `cargo xtask vm` are unpacked with
    Lab,
    /// kubelet, kube-proxy, containerd, runc and the like, for `cargo xtask vm node`
    Node,
}

pub fn run(Args { parts }: &Args) -> Result<()> {
    ensure(if parts.is_empty() { Part::value_variants() } else { parts })
}

/// Makes sure that each of `parts` is there. Other verbs call it for the parts that they need.
pub fn ensure(parts: &[Part]) -> Result<()> {
    for part in parts {
        let name = part.to_possible_value().expect("no part is hidden");
        let name = name.get_name();
        let start = Instant::now();
        match part {
            Part::Bpf => bpf::ensure(),
            Part::Build => build::ensure(),
            Part::Aarch64 => build::ensure_aarch64(),
            Part::System => system::ensure(),
            Part::Kube => kube::ensure(),
            Part::Prometheus => prometheus::ensure(),
            Part::Image => image::ensure(),
            Part::Lab => lab::ensure(),
            Part::Node => node::ensure(),
        }
        .with_context(|| format!("setup {name}"))?;
        eprintln!("setup {name}: ready after {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
