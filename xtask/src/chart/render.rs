//! Runs helm and kustomize.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tempfile::TempDir;
use xtask::{helm_binary, kube_binaries::KubeBinaries, paths};

use super::{directory, objects::Objects};
use crate::command::capture;

/// helm, with a directory for what it keeps.
pub struct Helm {
    home: TempDir,
}

impl Helm {
    pub fn new() -> Result<Self> {
        Ok(Self { home: tempfile::tempdir().context("make a directory for helm")? })
    }

    /// What the chart is with these options.
    pub fn template(&self, namespace: &str, options: &[&str]) -> Result<Objects> {
        Objects::read(&capture(&mut self.rendering(namespace, options)?)?)
    }

    /// With what helm refuses to render the chart.
    pub fn refusal(&self, options: &[&str]) -> Result<String> {
        let output = self.rendering("chaos-agent", options)?.output().context("start helm")?;
        if output.status.success() {
            bail!("helm renders the chart with {}", options.join(" "));
        }
        String::from_utf8(output.stderr).context("what helm says")
    }

    /// Checks the chart with these options as `helm lint` does; a warning is a failure.
    pub fn lint(&self, options: &[&str]) -> Result<()> {
        let mut command = helm_binary::command(self.home.path())?;
        capture(command.args(["lint", "--strict"]).arg(directory()).args(options)).map(drop)
    }

    fn rendering(&self, namespace: &str, options: &[&str]) -> Result<Command> {
        let mut command = helm_binary::command(self.home.path())?;
        command.args(["template", "chaos-agent"]).arg(directory());
        command.args(["--namespace", namespace]).args(options);
        Ok(command)
    }
}

/// What kustomize makes of these directories of `manifests/`.
pub fn kustomize(resources: &[&str], components: &[&str]) -> Result<Objects> {
    let directory = tempfile::tempdir().context("make a directory for a kustomization")?;
    // Kustomize takes relative paths only.
    let up = "../".repeat(directory.path().components().count() - 1);
    let manifests = paths::workspace().join("manifests");
    let manifests = manifests.strip_prefix("/").context("the workspace has an absolute path")?;
    let relative = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{up}{}/{name}", manifests.display())).collect()
    };
    let text = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": relative(resources),
        "components": relative(components),
    });
    write(&directory.path().join("kustomization.yaml"), &text.to_string())?;
    let mut kubectl = Command::new(KubeBinaries::find()?.kubectl);
    Objects::read(&capture(kubectl.arg("kustomize").arg(directory.path()))?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
