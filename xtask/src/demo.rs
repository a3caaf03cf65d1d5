//! `demo [--kubernetes | --cluster]`: a client and a server, broken and healed before your eyes.

use std::process::Command;

use anyhow::Result;
use chaos_guest::CgroupDriver;

use crate::{
    command::run as run_command,
    integration,
    setup::{self, Part},
    vm::{KernelArg, Settings, node::Parts},
};

#[derive(clap::Args)]
pub struct Args {
    /// By annotating a pod, against a real API server
    #[arg(long)]
    kubernetes: bool,
    /// On a real Kubernetes node in a virtual machine
    #[arg(long, conflicts_with = "kubernetes")]
    cluster: bool,
    /// The node's kernel
    #[arg(long, requires = "cluster", default_value = "debian-6.12")]
    kernel: KernelArg,
}

pub fn run(Args { kubernetes, cluster, kernel }: &Args) -> Result<()> {
    if *cluster || *kubernetes {
        integration::needs_root("the demo makes cgroups and network namespaces")?;
        return if *cluster { on_node(kernel) } else { with_api_server() };
    }
    chaos_toolchain::demo::run()
}

fn with_api_server() -> Result<()> {
    setup::ensure(&[Part::Build, Part::System, Part::Kube])?;
    let programs = integration::build_programs(&["demo", "victim"], "release")?;
    let mut demo = Command::new(programs.join("demo"));
    run_command(demo.arg("kubernetes").arg(programs.join(integration::AGENT)))
}

fn on_node(KernelArg(kernel): &KernelArg) -> Result<()> {
    let node = Parts::build(Settings::DEFAULT)?.prepare(kernel, CgroupDriver::Systemd)?;
    let mut demo = Command::new(integration::build_program("demo")?);
    let (variable, kit) = node.variable();
    run_command(demo.arg("cluster").env(variable, kit))
}
