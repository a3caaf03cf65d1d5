//! Kustomizations of a test's own, on top of `manifests/base`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with a kustomization. Dropping it removes it.
#[derive(Debug)]
pub struct Overlay(TempDir);

impl Overlay {
    /// What `more` says beside the base. It is told how to name the directory `manifests`.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub fn on_base(more: impl FnOnce(&str) -> Value) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory")?;
        // Kustomize takes relative paths only.
        let up = "../".repeat(dir.path().components().count() - 1);
        let manifests = xtask::paths::workspace().join("manifests");
        let manifests = format!("{up}{}", manifests.strip_prefix("/")?.display());
        let mut kustomization = more(&manifests);
        kustomization["resources"] = json!([format!("{manifests}/base")]);
        // YAML includes JSON.
        let file = dir.path().join("kustomization.yaml");
        fs::write(&file, kustomization.to_string())
            .with_context(|| format!("write {}", file.display()))?;
        Ok(Self(dir))
    }

    /// What kustomize is called with.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
