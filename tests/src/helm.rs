//! Runs the real helm on a test's control plane.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use xtask::helm_binary;

use crate::control_plane::{ControlPlane, Identity};

/// helm as administrator, with a directory for what it keeps.
#[derive(Debug)]
pub struct Helm<'a> {
    plane: &'a ControlPlane,
    home: TempDir,
}

impl<'a> Helm<'a> {
    /// # Errors
    /// When no directory can be made.
    pub fn on(plane: &'a ControlPlane) -> Result<Self> {
        Ok(Self { plane, home: tempfile::tempdir().context("make a directory for helm")? })
    }

    /// The chart of this checkout.
    #[must_use]
    pub fn chart() -> PathBuf {
        xtask::paths::workspace().join("chart")
    }

    /// The names of the chart's objects that the cluster has, sorted.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn objects(&self) -> Result<Vec<String>> {
        let objects = self.plane.kubectl(&[
            "get",
            "all,serviceaccounts,networkpolicies,poddisruptionbudgets,roles,rolebindings,clusterroles,\
             clusterrolebindings,priorityclasses,validatingadmissionpolicies,validatingadmissionpolicybindings,crds",
            "--all-namespaces",
            "--selector=app.kubernetes.io/part-of=chaos-agent",
            "--output=name",
        ])?;
        let mut objects: Vec<String> = objects.lines().map(str::to_owned).collect();
        objects.sort_unstable();
        Ok(objects)
    }

    /// Runs helm and returns its standard output.
    ///
    /// # Errors
    /// When helm is not built, or fails, with its standard error.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let program = helm_binary::command(self.home.path())?;
        let mut command = self.plane.command(program.get_program());
        for (name, value) in program.get_envs() {
            command.env(name, value.context("helm's variables are set")?);
        }
        command.arg("--kubeconfig").arg(self.plane.kubeconfig(Identity::Admin)).args(args);
        let output = command.output().context("start helm")?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!("helm {} failed: {}", args.join(" "), message.trim_end());
        }
        String::from_utf8(output.stdout).context("helm's output")
    }
}
