//! The compilers of the BPF object: a nightly with the sources of `core` for the BPF target, and the linker that
//! turns its bitcode into BPF.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{capture, run},
    paths,
};

/// rustc's LLVM and the linker's must be the same, so this version moves with the nightly.
const BPF_LINKER: &str = "0.13.0";
/// The feature of bpf-linker that names the nightly's LLVM.
const BPF_LINKER_LLVM: &str = "llvm-23";

/// Installs what is missing.
///
/// # Errors
/// When the toolchain's name cannot be read, or a command of the installation fails.
pub fn ensure() -> Result<()> {
    let toolchain = paths::bpf_toolchain()?;
    nightly(&toolchain)?;
    bpf_linker(&toolchain)
}

/// A command of the nightly, with our own bpf-linker first on `PATH`. rustup puts the nightly's libraries on the
/// loader's path, where bpf-linker finds its LLVM.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is known.
pub fn nightly_command(toolchain: &str, program: &str) -> Result<Command> {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]);
    let path = env::var_os("PATH").unwrap_or_default();
    let own = paths::bpf_linker_root(toolchain)?.join("bin");
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&path)));
    command.env("PATH", path.context("extend PATH")?);
    // Set by the cargo that runs this; they would win over the nightly's own.
    for variable in ["CARGO", "RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    Ok(command)
}

fn nightly(toolchain: &str) -> Result<()> {
    let has_core_sources = sysroot(toolchain)
        .is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir());
    if has_core_sources {
        return Ok(());
    }
    progress(&format!("installing {toolchain} with rust-src"));
    run(Command::new("rustup").args([
        "toolchain",
        "install",
        toolchain,
        "--profile=minimal",
        "--component=rust-src",
        "--no-self-update",
    ]))
}

/// Installs what formats imports.
///
/// # Errors
/// When rustup fails.
pub fn ensure_rustfmt(toolchain: &str) -> Result<()> {
    nightly(toolchain)?;
    let mut version = nightly_command(toolchain, "rustfmt")?;
    if capture(version.arg("--version")).is_ok() {
        return Ok(());
    }
    progress(&format!("adding rustfmt to {toolchain}"));
    run(Command::new("rustup").args(["component", "add", "rustfmt", "--toolchain", toolchain]))
}

fn bpf_linker(toolchain: &str) -> Result<()> {
    if installed_bpf_linker(toolchain).as_deref() == Some(BPF_LINKER) {
        return Ok(());
    }
    progress(&format!("building bpf-linker {BPF_LINKER} against the LLVM of {toolchain}"));
    run(&mut install_bpf_linker(toolchain)?)?;
    if installed_bpf_linker(toolchain).as_deref() != Some(BPF_LINKER) {
        bail!(
            "bpf-linker {BPF_LINKER} was built, and does not run with the libraries of {toolchain}"
        );
    }
    Ok(())
}

/// The version of our own bpf-linker, or of the one on `PATH`, if it runs with the libraries of this nightly:
/// one that was built for another LLVM does not.
fn installed_bpf_linker(toolchain: &str) -> Option<String> {
    let mut command = nightly_command(toolchain, "bpf-linker").ok()?;
    let version = capture(command.arg("--version").stderr(Stdio::null())).ok()?;
    Some(version.trim().strip_prefix("bpf-linker ")?.to_owned())
}

fn install_bpf_linker(toolchain: &str) -> Result<Command> {
    let mut install = nightly_command(toolchain, "cargo")?;
    // In the cache: the person's own one, if there is any, stays as it is.
    install
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force", "--root"])
        .arg(paths::bpf_linker_root(toolchain)?)
        .args(["--no-default-features", "--features", BPF_LINKER_LLVM])
        // All the work is done by LLVM, which is there: optimized it takes twice the time to compile.
        .arg("--debug")
        .env("LLVM_PREFIX", llvm_prefix(toolchain)?);
    Ok(install)
}

/// Makes a directory that looks like an installed LLVM to bpf-linker's build: `lib/libLLVM.so`,
/// which the toolchain has under a longer name.
fn llvm_prefix(toolchain: &str) -> Result<PathBuf> {
    let library = find_libllvm(&sysroot(toolchain)?.join("lib"))?;
    let prefix = paths::cache()?.join("llvm").join(toolchain);
    let lib = prefix.join("lib");
    fs::create_dir_all(&lib).with_context(|| format!("create {}", lib.display()))?;
    let link = lib.join("libLLVM.so");
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link).with_context(|| format!("remove {}", link.display()))?;
    }
    symlink(&library, &link).with_context(|| format!("link {}", link.display()))?;
    Ok(prefix)
}

/// The versioned libLLVM, such as `libLLVM.so.23.1-rust-1.101.0-nightly`.
fn find_libllvm(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry.with_context(|| format!("list {}", dir.display()))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("libLLVM.so.")) {
            return Ok(entry.path());
        }
    }
    bail!("no libLLVM.so.* in {}", dir.display())
}

fn sysroot(toolchain: &str) -> Result<PathBuf> {
    let path = capture(nightly_command(toolchain, "rustc")?.args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(path.trim()))
}

/// Says what is about to be done, which can take a while.
pub fn progress(what: &str) {
    eprintln!("  {what} ...");
}
