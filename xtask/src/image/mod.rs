//! `image`: the agent's container image, a static program from scratch, without Docker.

pub mod archive;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use archive::{Image, Program};
use cargo_metadata::MetadataCommand;
use xtask::paths;

use crate::{
    command::run as run_command,
    integration::AGENT,
    setup::{self, Part, build::MUSL_TARGET},
};

/// What the manifests call it.
pub const REFERENCE: &str = concat!("chaos-agent:", env!("CARGO_PKG_VERSION"));

#[derive(clap::Args)]
pub struct Args {
    /// The name and the tag of the image
    #[arg(long, default_value = REFERENCE)]
    reference: String,
    /// The file to write, an OCI archive; by default target/image/chaos-agent.tar
    #[arg(long)]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Part::Build, Part::Image])?;
    let program = build_static(AGENT, AGENT, "release")?;
    let contents = fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let image = agent(&args.reference, &contents);
    let (bytes, digests) = archive::write(&[image])?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => paths::workspace().join("target/image/chaos-agent.tar"),
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

/// Builds a program that needs nothing of the machine it runs on; its path.
pub fn build_static(package: &str, program: &str, profile: &str) -> Result<PathBuf> {
    let workspace = paths::workspace();
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace).args(["build", "--target", MUSL_TARGET, "--profile", profile]);
    run_command(cargo.args(["--package", package, "--bin", program]))?;
    let metadata = MetadataCommand::new().current_dir(workspace).no_deps().exec()?;
    let target: &Path = metadata.target_directory.as_std_path();
    Ok(target.join(MUSL_TARGET).join(profile).join(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_name_this_image() {
        let path = paths::workspace().join("manifests/base/daemonset.yaml");
        let daemon_set = fs::read_to_string(path).unwrap();
        let image = daemon_set.lines().find_map(|line| line.trim().strip_prefix("image: "));
        assert_eq!(image, Some(REFERENCE));
    }
}
