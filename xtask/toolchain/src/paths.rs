//! Directories of the project and of the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The root of this checkout.
#[must_use]
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("xtask/toolchain lies in the workspace")
}

/// Where built tools are kept between checkouts: `$XDG_CACHE_HOME/chaos-agent`, by default
/// `~/.cache/chaos-agent`.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is known.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => env::home_dir().context("HOME is not set")?.join(".cache"),
    };
    Ok(base.join("chaos-agent"))
}

/// Where bpf-linker for this nightly is installed, below `bin`; the agent's build script looks there, too.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is known.
pub fn bpf_linker_root(toolchain: &str) -> Result<PathBuf> {
    Ok(cache()?.join("bpf-linker").join(toolchain))
}

/// The name of the nightly toolchain that compiles the BPF object.
///
/// # Errors
/// When `chaos-ebpf/toolchain.txt` can't be read.
pub fn bpf_toolchain() -> Result<String> {
    let path = workspace().join("chaos-ebpf/toolchain.txt");
    let name = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(name.trim().to_owned())
}
