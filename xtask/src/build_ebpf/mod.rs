//! `build-ebpf`: compiles the BPF object as the agent's build script does, into `target/ebpf` and for aarch64 into
//! `target/ebpf-aarch64`, and checks what came out.

mod inspect;
mod stack;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use chaos_ebpf_common::object::{MAPS, PROGRAMS};
use chaos_toolchain::bpf::nightly_command;
use inspect::{Expected, Object};
use xtask::paths;

use crate::{
    command::{run as run_command, target_directory},
    setup::{self, Part},
};

/// The architecture that has all programs.
const MAIN: &str = "x86_64";
/// The one that has none of those that answer system calls by their numbers, nor what only they use.
const OTHER: &str = "aarch64";
/// The section of those programs.
const OF_CALLS: &str = "fentry";

pub fn run() -> Result<()> {
    setup::ensure(&[Part::Build])?;
    check(MAIN, &PROGRAMS)?;
    let others = PROGRAMS.into_iter().filter(|(_, section)| *section != OF_CALLS);
    check(OTHER, &others.collect::<Vec<_>>())
}

fn check(architecture: &str, programs: &[(&str, &str)]) -> Result<()> {
    let path = compile(architecture)?;
    let file = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let object = Object::parse(&file).with_context(|| format!("inspect {}", path.display()))?;
    print!("{object}");
    object
        .check(&Expected { programs, maps: &MAPS })
        .with_context(|| format!("check {}", path.display()))?;
    println!("{}: as expected", path.strip_prefix(paths::workspace()).unwrap_or(&path).display());
    Ok(())
}

fn compile(architecture: &str) -> Result<PathBuf> {
    let target = "bpfel-unknown-none";
    // Where the agent's build script has it compiled, too.
    let directory =
        if architecture == MAIN { "ebpf".to_owned() } else { format!("ebpf-{architecture}") };
    let target_dir = target_directory()?.join(directory);
    // The flags of aya-build, so that both make the same object.
    let arch = format!("--cfg=bpf_target_arch=\"{architecture}\"");
    let flags = [arch.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f");
    run_command(
        nightly_command(&paths::bpf_toolchain()?, "cargo")?
            .current_dir(paths::workspace())
            .args(["build", "--package", "chaos-ebpf", "--bins", "--release"])
            .args(["-Z", "build-std=core", "--target", target, "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", flags),
    )?;
    Ok(target_dir.join(Path::new(target)).join("release/chaos"))
}
