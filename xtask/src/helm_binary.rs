//! Names the program helm, which renders, checks and installs the chart: built from the Go module `tests/kubernetes/helm`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::go_module::GoModule;

const MODULE: &str = "helm.sh/helm/v4";

/// The package of the program.
pub const PACKAGE: &str = "helm.sh/helm/v4/cmd/helm";

/// The program that `cargo xtask setup kube` made.
///
/// # Errors
/// Says what to run when it is missing.
pub fn find() -> Result<PathBuf> {
    let program = module()?.cache_dir()?.join("helm");
    ensure!(program.is_file(), "no {}: run `cargo xtask setup kube`", program.display());
    Ok(program)
}

/// The Go module that pins it, with the flags that it is built with.
///
/// # Errors
/// When its files can't be read, or require no helm.
pub fn module() -> Result<GoModule> {
    GoModule::load("tests/kubernetes/helm", "helm", MODULE, |version| {
        let ldflags = format!("-s -w -X {MODULE}/internal/version.version={version}");
        ["-mod=readonly", "-trimpath", "-ldflags", &ldflags].map(str::to_owned).to_vec()
    })
}

/// helm for arguments to be added, with everything that it keeps in `home` and not in the user's directories.
///
/// # Errors
/// As [`find`].
pub fn command(home: &Path) -> Result<Command> {
    let mut command = Command::new(find().context("find helm")?);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home);
    }
    Ok(command)
}
