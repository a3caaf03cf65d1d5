//! Fetches Prometheus, which the tests have scrape agent and controller.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use xtask::prometheus_binaries::PrometheusBinaries;

use super::packages;

pub fn ensure() -> Result<()> {
    let dir = PrometheusBinaries::dir()?;
    if PrometheusBinaries::in_dir(&dir).is_some() {
        return Ok(());
    }
    let unpacked = dir.join("unpack");
    fs::create_dir_all(&unpacked).with_context(|| format!("create {}", unpacked.display()))?;
    packages::unpack("prometheus", &unpacked)?;
    for program in ["prometheus", "promtool"] {
        rename(&unpacked.join("root/usr/bin").join(program), &dir.join(program))?;
    }
    fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("move {} to {}", from.display(), to.display()))
}
