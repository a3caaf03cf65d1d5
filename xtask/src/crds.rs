//! `crds`: writes the definitions of the kinds Experiment and Run into `manifests/`, and the page with their fields, as the
//! types of chaos-api have them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::paths;

use crate::command::{cargo, run as run_command, target_directory};

/// A file, what prints it, and what stands above that.
struct Written {
    path: &'static str,
    example: &'static str,
    head: &'static str,
}

const FILES: [Written; 2] = [
    Written {
        path: "manifests/controller/crds.yaml",
        example: "crds",
        head: "# Written by `./x crds` from the types in chaos-api/src/kinds; `./x crds --check` is part of ci.\n",
    },
    Written { path: "docs/reference.md", example: "reference", head: "" },
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if a file is not what it would be
    #[arg(long)]
    pub check: bool,
}

/// Writes the files, or checks them.
pub fn run(args: &Args) -> Result<()> {
    // With the whole workspace, dependencies have the features that they have for the tests, and are compiled once.
    let examples = FILES.iter().flat_map(|file| ["--example", file.example]);
    run_command(cargo().args(["build", "--locked", "--workspace"]).args(examples))?;
    let programs = target_directory()?.join("debug/examples");
    FILES.iter().try_for_each(|file| write(file, &programs, args))
}

fn write(file: &Written, programs: &Path, args: &Args) -> Result<()> {
    let program = programs.join(file.example);
    let output =
        Command::new(&program).output().with_context(|| format!("start {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    let printed = String::from_utf8(output.stdout).with_context(|| file.example)?;
    let text = format!("{}{printed}", file.head);
    let path = paths::workspace().join(file.path);
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
