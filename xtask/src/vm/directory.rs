//! Lists directories.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The entries of a directory.
pub fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    list().with_context(|| format!("list {}", dir.display()))
}

/// The entry of a directory that has just one.
pub fn only_child(dir: &Path) -> Result<PathBuf> {
    let mut children = children(dir)?;
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => bail!("{} does not have exactly one entry", dir.display()),
    }
}
