//! `crds`: writes the definitions of the kinds Experiment and Run into `manifests/`, as the types of chaos-api have them.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::paths;

use crate::command::{cargo, run as run_command, target_directory};

/// What prints them.
const EXAMPLE: &str = "crds";

const HEAD: &str = "# Written by `./x crds` from the types in chaos-api/src/kinds; `./x crds --check` is part of ci.\n";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if the file is not what it would be
    #[arg(long)]
    pub check: bool,
}

/// Writes the file, or checks it.
pub fn run(args: &Args) -> Result<()> {
    // With the whole workspace, dependencies have the features that they have for the tests, and are compiled once.
    run_command(cargo().args(["build", "--locked", "--workspace", "--example", EXAMPLE]))?;
    let program = target_directory()?.join("debug/examples").join(EXAMPLE);
    let output =
        Command::new(&program).output().with_context(|| format!("start {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    let definitions = String::from_utf8(output.stdout).context("the definitions")?;
    let text = format!("{HEAD}{definitions}");
    let path = paths::workspace().join("manifests/controller/crds.yaml");
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if args.check {
        bail!("{} is not as `./x crds` writes it", path.display());
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
