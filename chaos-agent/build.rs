//! Compiles the BPF object into `OUT_DIR/chaos`, which the agent embeds.
//!
//! `CHAOS_EBPF_OBJECT=FILE` takes a finished object instead, for machines without the BPF
//! toolchain.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aya_build::{Package, Toolchain};

const OBJECT_VARIABLE: &str = "CHAOS_EBPF_OBJECT";

fn main() {
    // A panic would show its backtrace; this shows one line.
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    if let Some(object) = env::var_os(OBJECT_VARIABLE) {
        return copy_object(Path::new(&object));
    }
    let root = Path::new("../chaos-ebpf").canonicalize()?;
    let toolchain = fs::read_to_string(root.join("toolchain.txt"))?;
    let toolchain = toolchain.trim();
    if !(runs(toolchain, "rustc") && runs(toolchain, "bpf-linker")) {
        return Err("the BPF toolchain is missing: run `cargo xtask setup build`".into());
    }
    // Cargo's progress would come out of aya-build as warnings.
    // SAFETY: this program has one thread.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    let root_dir = root.to_str().ok_or("the path of the checkout is not UTF-8")?;
    let package = Package { name: "chaos-ebpf", root_dir, ..Package::default() };
    Ok(aya_build::build_ebpf([package], Toolchain::Custom(toolchain))?)
}

fn copy_object(object: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::copy(object, out.join("chaos"))
        .map_err(|error| format!("copy {OBJECT_VARIABLE}={}: {error}", object.display()))?;
    Ok(())
}

/// Whether a program of the toolchain starts; bpf-linker needs the toolchain's LLVM for that.
fn runs(toolchain: &str, program: &str) -> bool {
    Command::new("rustup")
        .args(["run", toolchain, program, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
