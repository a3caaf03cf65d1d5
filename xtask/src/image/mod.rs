//! `image`: the agent's container image, a static program from scratch, without Docker.

pub mod archive;
pub mod linked;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use archive::{Image, Program};
use xtask::node::NodeKit;

use crate::{
    command::{cargo, run as run_command, target_directory},
    integration::AGENT,
    setup::{self, Part, build::MUSL_TARGET},
};

#[derive(clap::Args)]
pub struct Args {
    /// The name and the tag of the image
    #[arg(long, default_value = NodeKit::AGENT_IMAGE)]
    reference: String,
    /// The file to write, an OCI archive; by default target/image/chaos-agent.tar
    #[arg(long)]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Part::Build, Part::Image])?;
    let program = build_static(&[AGENT], &[AGENT], Profile::Release)?.join(AGENT);
    let contents = fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let image = agent(&args.reference, &contents);
    let (bytes, digests) = archive::write(&[image])?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => target_directory()?.join("image/chaos-agent.tar"),
    };
    if let Some(dir) = output.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::write(&output, &bytes).with_context(|| format!("write {}", output.display()))?;
    let size = bytes.len() / 1_000_000;
    println!("{} {} ({size} MB) in {}", args.reference, digests[0], output.display());
    Ok(ExitCode::SUCCESS)
}

/// The agent's image, with the agent's program.
pub fn agent<'a>(reference: &'a str, program: &'a [u8]) -> Image<'a> {
    let programs = vec![Program { path: "chaos-agent", contents: program }];
    Image { reference, entrypoint: &["/chaos-agent"], programs }
}

/// How programs are built.
#[derive(Clone, Copy)]
pub enum Profile {
    /// As tests are: soon.
    Dev,
    /// As users get them.
    Release,
}

/// Builds programs that need nothing of the machine they run on; the directory with them. Built
/// together, they share what they depend on.
pub fn build_static(packages: &[&str], programs: &[&str], profile: Profile) -> Result<PathBuf> {
    let (profile, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    let mut cargo = cargo();
    cargo.args(["build", "--target", MUSL_TARGET, "--profile", profile]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    run_command(cargo.args(programs.iter().flat_map(|program| ["--bin", program])))?;
    Ok(target_directory()?.join(MUSL_TARGET).join(directory))
}

#[cfg(test)]
mod tests {
    use xtask::paths;

    use super::*;

    #[test]
    fn the_manifests_name_this_image() {
        for name in ["base/daemonset.yaml", "controller/deployment.yaml"] {
            let path = paths::workspace().join("manifests").join(name);
            let manifest = fs::read_to_string(path).unwrap();
            let image = manifest.lines().find_map(|line| line.trim().strip_prefix("image: "));
            assert_eq!(image, Some(NodeKit::AGENT_IMAGE), "{name}");
        }
    }
}
