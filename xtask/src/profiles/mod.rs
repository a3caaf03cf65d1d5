//! `profiles`: writes the seccomp profiles of `manifests/seccomp`, from the default profile of the
//! containerd that the lab's node has.

mod compose;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use compose::{Profile, shipped};
use xtask::paths;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if a profile is not what it would be
    #[arg(long)]
    pub check: bool,
}

/// Writes the profiles, or checks them.
pub fn run(args: &Args) -> Result<()> {
    let default = runtime_default()?;
    let mut outdated = Vec::new();
    for (name, profile) in shipped(&default)? {
        let path = directory().join(name);
        let text = profile.to_json()?;
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if args.check {
            outdated.push(path.display().to_string());
        } else {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    if !outdated.is_empty() {
        bail!("not as `./x profiles` writes them: {}", outdated.join(", "));
    }
    Ok(())
}

fn directory() -> PathBuf {
    paths::workspace().join("manifests/seccomp")
}

/// What containerd gives a container of a pod with the profile RuntimeDefault.
fn runtime_default() -> Result<Profile> {
    let module = paths::workspace().join("tests/node/containerd");
    let output = Command::new("go")
        .current_dir(&module)
        .args(["run", "-mod=readonly", "./default-profile"])
        .output()
        .context("start `go`; install Go 1.26")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("go run in {}: {}", module.display(), said.trim_end());
    }
    serde_json::from_slice(&output.stdout).context("read containerd's default profile")
}
