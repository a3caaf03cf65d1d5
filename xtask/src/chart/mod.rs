//! `chart`: writes what the Helm chart takes from `manifests/`, and checks that it renders what kustomize makes of them.

mod cases;
mod objects;
mod readme;
mod render;
mod template;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use xtask::paths;

use crate::setup::{self, Part};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if a file is not what it would be
    #[arg(long)]
    pub check: bool,
}

/// Writes the files, or checks them, and checks what the chart renders.
pub fn run(args: &Args) -> Result<()> {
    let written = written()?;
    let outdated = outdated(&written)?;
    if args.check && !outdated.is_empty() {
        bail!("not as `./x chart` writes them: {}", list(outdated.keys()));
    }
    for (path, text) in &outdated {
        match text {
            Some(text) => write(path, text)?,
            None => fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?,
        }
        println!("wrote {}", path.display());
    }
    setup::ensure(&[Part::Kube])?;
    cases::check()
}

/// The chart's directory.
fn directory() -> PathBuf {
    paths::workspace().join("chart")
}

/// What the files have to be that this verb writes.
fn written() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = template::files()?;
    let path = directory().join("README.md");
    let (values, readme) = (read(&directory().join("values.yaml"))?, read(&path)?);
    files.insert(path, readme::filled(&readme, &values)?);
    Ok(files)
}

/// Those that are not as they have to be: with what they should be, or nothing for one that should not be there.
fn outdated(written: &BTreeMap<PathBuf, String>) -> Result<BTreeMap<PathBuf, Option<&str>>> {
    let mut outdated = BTreeMap::new();
    for (path, text) in written {
        if fs::read_to_string(path).ok().as_ref() != Some(text) {
            outdated.insert(path.clone(), Some(text.as_str()));
        }
    }
    for owned in template::DIRECTORIES.map(|name| directory().join(name)) {
        let Ok(entries) = fs::read_dir(&owned) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", owned.display()))?.path();
            if !written.contains_key(&path) {
                outdated.insert(path, None);
            }
        }
    }
    Ok(outdated)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn list<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> String {
    paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
