//! Programs of the integration crate that are more than tests.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Artifact, Message};
pub use chaos_toolchain::{command::needs_root, demo::AGENT};
use xtask::paths;

use crate::command::{cargo, run, target_directory};

/// The crate whose programs and tests need root.
pub const PACKAGE: &str = "chaos-tests";
/// A test of the agent, and one of kubectl's plugin, which start their programs.
const AGENT_TEST: &str = "cli";

/// Builds the programs of the agent and of kubectl's plugin, by building tests that need them: built alone they would ask for fewer
/// features of its dependencies, and all of them would be compiled once more than for the tests.
pub fn build_agent() -> Result<()> {
    run(cargo().args(["test", "--workspace", "--no-run", "--test", AGENT_TEST]))
}

/// Builds every test and program that runs on this machine's kernel.
pub fn build_all() -> Result<()> {
    run(cargo().args(["test", "--workspace", "--no-run"]))
}

/// Builds the tests of the integration crate's library and programs, and says where they are. They are built with the whole
/// workspace: alone, that crate asks for fewer features of its dependencies, and all of them would be compiled once more.
pub fn own_tests() -> Result<Vec<PathBuf>> {
    let manifest = paths::workspace().join("tests/Cargo.toml");
    built(&["--lib", "--bins"], |artifact| {
        artifact.manifest_path == manifest && artifact.profile.test
    })
}

/// Builds a test target of the integration crate and says where it is.
pub fn test_target(name: &str) -> Result<PathBuf> {
    let built = built(&["--test", name], |artifact| artifact.target.name == name)?;
    built.into_iter().next().context("there is one at least")
}

/// Builds tests with the whole workspace, and says where those are that are wanted: one at least.
fn built(select: &[&str], is_wanted: impl Fn(&Artifact) -> bool) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--workspace"]).args(select);
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    let mut tests = Vec::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("read cargo's messages")?
            && is_wanted(&artifact)
        {
            tests.extend(artifact.executable.map(PathBuf::from));
        }
    }
    if tests.is_empty() {
        bail!("{command:?} built no test");
    }
    Ok(tests)
}

/// Builds a program of the integration crate as its tests are built; its path.
pub fn build_program(name: &str) -> Result<PathBuf> {
    run(cargo().args(["build", "--package", PACKAGE, "--bin", name]))?;
    Ok(target_directory()?.join("debug").join(name))
}

/// Builds programs of the integration crate, and the agent, with a profile of cargo; the directory with them.
pub fn build_programs(names: &[&str], profile: &str) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--profile", profile, "--workspace", "--bin", AGENT]);
    cargo.args(names.iter().flat_map(|name| ["--bin", name]));
    run(&mut cargo)?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(target_directory()?.join(directory))
}
