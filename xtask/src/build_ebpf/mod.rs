//! `build-ebpf`: compiles the BPF object as the agent's build script does, into `target/ebpf`,
//! and checks what came out.

mod inspect;
mod stack;

use std::{
    env, fs,
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

const EXPECTED: Expected<'static> = Expected { programs: &PROGRAMS, maps: &MAPS };

pub fn run() -> Result<()> {
    setup::ensure(&[Part::Build])?;
    let path = compile()?;
    let file = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let object = Object::parse(&file).with_context(|| format!("inspect {}", path.display()))?;
    print!("{object}");
    object.check(&EXPECTED).with_context(|| format!("check {}", path.display()))?;
    println!("{}: as expected", path.strip_prefix(paths::workspace()).unwrap_or(&path).display());
    Ok(())
}

fn compile() -> Result<PathBuf> {
    let endian = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let target = format!("{endian}-unknown-none");
    // Where the agent's build script has it compiled, too.
    let target_dir = target_directory()?.join("ebpf");
    // The flags of aya-build, so that both make the same object.
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let flags = [arch.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f");
    run_command(
        nightly_command(&paths::bpf_toolchain()?, "cargo")?
            .current_dir(paths::workspace())
            .args(["build", "--package", "chaos-ebpf", "--bins", "--release"])
            .args(["-Z", "build-std=core", "--target", &target, "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", flags),
    )?;
    Ok(target_dir.join(Path::new(&target)).join("release/chaos"))
}
