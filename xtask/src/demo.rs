//! `demo [--kubernetes]`: a client and a server, broken and healed before your eyes.

use std::process::Command;

use anyhow::Result;

use crate::{
    command::run as run_command,
    integration,
    setup::{self, Part},
};

#[derive(clap::Args)]
pub struct Args {
    /// By annotating a pod, against a real API server
    #[arg(long)]
    kubernetes: bool,
}

pub fn run(Args { kubernetes }: &Args) -> Result<()> {
    integration::needs_root("the demo makes cgroups and network namespaces")?;
    setup::ensure(&[Part::Build, Part::System])?;
    if *kubernetes {
        setup::ensure(&[Part::Kube])?;
    }
    let programs = integration::build_programs(&["demo", "victim"])?;
    let mut demo = Command::new(programs.join("demo"));
    demo.arg(programs.join(integration::AGENT)).args(kubernetes.then_some("--kubernetes"));
    run_command(&mut demo)
}
