//! Debian packages. apt is asked only when one is missing.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use super::progress;
use crate::command::{capture, run};

/// Installs those of `packages` that are missing.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if which::which("apt-get").is_err() {
        bail!(
            "missing: {list} (Debian's names); this machine has no apt-get, install them by hand"
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("missing: {list}; run as root: apt-get install {list}");
    }
    update()?;
    progress(&format!("installing {list}"));
    run(apt_get().args(["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(missing))
}

/// Fetches a package into the directory `dir` and unpacks it to `dir/root`, installing nothing:
/// none of its services is started.
pub fn unpack(package: &str, dir: &Path) -> Result<()> {
    if capture(apt_get().args(["download", "--print-uris", package])).is_err() {
        update()?;
    }
    progress(&format!("fetching Debian's {package}"));
    run(apt_get().args(["download", "--quiet=2", package]).current_dir(dir))?;
    for file in dir.read_dir()? {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(dir.join("root")))?;
        }
    }
    Ok(())
}

fn update() -> Result<()> {
    progress("updating apt's lists");
    run(apt_get().args(["update", "--quiet=2"]))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Downloads by apt's own user would fail in a directory that only this user may enter.
    command.args(["--option", "APT::Sandbox::User=root"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn is_installed(package: &str) -> bool {
    capture(Command::new("dpkg-query").args([
        "--show",
        "--showformat=${db:Status-Status}",
        package,
    ]))
    .is_ok_and(|status| status == "installed")
}
