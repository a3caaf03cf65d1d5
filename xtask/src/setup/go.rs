//! Building programs from Go modules.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use xtask::go_module::GoModule;

use crate::command::run;

/// Builds `packages` of the module into `dir`: aside first, so that an interrupted build leaves
/// nothing that looks finished.
pub fn build(
    module: &GoModule,
    dir: &Path,
    packages: &[String],
    environment: &[(&str, &str)],
) -> Result<()> {
    if which::which("go").is_err() {
        bail!("no `go` on PATH: install Go 1.26");
    }
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let built = tempfile::tempdir_in(dir).context("make a directory in the cache")?;
    run(Command::new("go")
        .current_dir(module.dir())
        .envs(environment.iter().copied())
        .arg("build")
        .args(module.build_args())
        // The trailing separator makes `go build` take it for a directory.
        .arg("-o")
        .arg(built.path().join(""))
        .args(packages))?;
    for entry in fs::read_dir(&built).context("list what was built")? {
        let from = entry.context("list what was built")?;
        fs::rename(from.path(), dir.join(from.file_name()))
            .with_context(|| format!("move {}", from.path().display()))?;
    }
    Ok(())
}
