//! etcd, kube-apiserver and kubectl. The latter two are compiled from the Go module
//! `tests/kubernetes`, which pins their version; etcd is Debian's, unpacked and not installed,
//! so that no etcd service appears on the machine.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use xtask::kube_binaries::{ASSETS_VARIABLE, KubeBinaries, KubeModule};

use super::{packages, progress};
use crate::command::run;

pub fn ensure() -> Result<()> {
    if KubeBinaries::from_environment().is_some() {
        eprintln!("  using the programs of {ASSETS_VARIABLE}");
        return Ok(());
    }
    let module = KubeModule::load()?;
    let dir = module.cache_dir()?;
    if KubeBinaries::in_dir(&dir).is_some() {
        return Ok(());
    }
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    if !dir.join("etcd").is_file() {
        etcd(&dir)?;
    }
    servers(&module, &dir)
}

fn etcd(dir: &Path) -> Result<()> {
    let unpacked = dir.join("unpack");
    fs::create_dir_all(&unpacked).with_context(|| format!("create {}", unpacked.display()))?;
    packages::unpack("etcd-server", &unpacked)?;
    let from = unpacked.join("root/usr/bin/etcd");
    fs::rename(&from, dir.join("etcd")).with_context(|| format!("move {}", from.display()))?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))
}

/// Builds the module's `tool`s aside and moves them into place, so that an interrupted build
/// leaves nothing that looks finished.
fn servers(module: &KubeModule, dir: &Path) -> Result<()> {
    if which::which("go").is_err() {
        bail!(
            "no `go` on PATH: install Go 1.26, which builds kube-apiserver and kubectl, \
             or set {ASSETS_VARIABLE} to a directory with etcd, kube-apiserver and kubectl"
        );
    }
    progress("building kube-apiserver and kubectl, 4 to 6 minutes the first time");
    let built = dir.join("build");
    fs::create_dir_all(&built).with_context(|| format!("create {}", built.display()))?;
    run(Command::new("go")
        .current_dir(module.dir())
        .env("CGO_ENABLED", "0")
        .arg("build")
        .args(module.build_args())
        // The trailing separator makes `go build` take it for a directory.
        .arg("-o")
        .arg(built.join(""))
        .arg("tool"))?;
    for name in ["kube-apiserver", "kubectl"] {
        let from = built.join(name);
        fs::rename(&from, dir.join(name)).with_context(|| format!("move {}", from.display()))?;
    }
    fs::remove_dir_all(&built).with_context(|| format!("remove {}", built.display()))
}
