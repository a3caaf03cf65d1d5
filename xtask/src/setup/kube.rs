//! etcd, kube-apiserver, kubectl and helm. Helm is compiled from the Go module `tests/kubernetes/helm`, kube-apiserver and
//! kubectl from `tests/kubernetes`, which pin their versions; etcd is Debian's, unpacked and not installed, so that no etcd
//! service appears on the machine.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use xtask::{
    go_module::GoModule,
    helm_binary,
    kube_binaries::{ASSETS_VARIABLE, KubeBinaries, kube_module},
};

use super::{go, packages, progress};

pub fn ensure() -> Result<()> {
    servers()?;
    helm()
}

fn servers() -> Result<()> {
    if KubeBinaries::from_environment().is_some() {
        eprintln!("  using the programs of {ASSETS_VARIABLE}");
        return Ok(());
    }
    let module = kube_module()?;
    let dir = module.cache_dir()?;
    if KubeBinaries::in_dir(&dir).is_some() {
        return Ok(());
    }
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    if !dir.join("etcd").is_file() {
        etcd(&dir)?;
    }
    compile(&module, &dir)
}

fn helm() -> Result<()> {
    let module = helm_binary::module()?;
    let dir = module.cache_dir()?;
    if helm_binary::find().is_ok() {
        return Ok(());
    }
    progress("building helm, 1 to 2 minutes the first time");
    go::build(&module, &dir, &[helm_binary::PACKAGE.to_owned()], &[("CGO_ENABLED", "0")])
}

fn etcd(dir: &Path) -> Result<()> {
    let unpacked = dir.join("unpack");
    fs::create_dir_all(&unpacked).with_context(|| format!("create {}", unpacked.display()))?;
    packages::unpack("etcd-server", &unpacked)?;
    let from = unpacked.join("root/usr/bin/etcd");
    fs::rename(&from, dir.join("etcd")).with_context(|| format!("move {}", from.display()))?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))
}

fn compile(module: &GoModule, dir: &Path) -> Result<()> {
    if which::which("go").is_err() {
        bail!(
            "no `go` on PATH: install Go 1.26, which builds kube-apiserver and kubectl, \
             or set {ASSETS_VARIABLE} to a directory with etcd, kube-apiserver and kubectl"
        );
    }
    progress("building kube-apiserver and kubectl, 4 to 6 minutes the first time");
    let packages =
        ["kube-apiserver", "kubectl"].map(|name| format!("k8s.io/kubernetes/cmd/{name}"));
    go::build(module, dir, &packages, &[("CGO_ENABLED", "0")])
}
