//! The Kubernetes servers of the tests: built from the Go module `tests/kubernetes`.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::go_module::GoModule;

/// The environment variable by which a user names a directory with `etcd`, `kube-apiserver` and
/// `kubectl` of their own, as controller-runtime's envtest and kubebuilder have it.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// A real control plane's programs.
#[derive(Debug, Clone)]
pub struct KubeBinaries {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub kubectl: PathBuf,
}

impl KubeBinaries {
    /// The programs in `$KUBEBUILDER_ASSETS`, else those that `cargo xtask setup kube` made.
    ///
    /// # Errors
    /// Says what to run when a program is missing.
    pub fn find() -> Result<Self> {
        if let Some(found) = Self::from_environment() {
            return Ok(found);
        }
        let dir = kube_module()?.cache_dir()?;
        Self::in_dir(&dir).with_context(|| {
            format!(
                "no etcd, kube-apiserver and kubectl in {}: run `cargo xtask setup kube`, \
                 or set {ASSETS_VARIABLE} to a directory that has them",
                dir.display()
            )
        })
    }

    /// The programs in `$KUBEBUILDER_ASSETS`, if it is set and has all of them.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::in_dir(Path::new(&env::var_os(ASSETS_VARIABLE)?))
    }

    /// The programs in `dir`, if it has all of them.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Option<Self> {
        let file = |name| Some(dir.join(name)).filter(|path: &PathBuf| path.is_file());
        Some(Self {
            etcd: file("etcd")?,
            apiserver: file("kube-apiserver")?,
            kubectl: file("kubectl")?,
        })
    }
}

/// The Go module that pins the servers, with the flags that they are built with.
///
/// # Errors
/// When its files can't be read, or require no `k8s.io/kubernetes`.
pub fn kube_module() -> Result<GoModule> {
    GoModule::load("tests/kubernetes", "kube", "k8s.io/kubernetes", |version| {
        // Without gitVersion the server reports v0.0.0-master, which kubectl warns about.
        let ldflags = format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
        ["-mod=readonly", "-trimpath", "-ldflags", &ldflags].map(str::to_owned).to_vec()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_module_of_this_checkout_loads() {
        let module = kube_module().unwrap();
        assert!(module.build_args().last().unwrap().contains("gitVersion=v1."));
    }

    #[test]
    fn a_directory_must_have_all_programs() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["etcd", "kube-apiserver"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(KubeBinaries::in_dir(dir.path()).is_none());
        fs::write(dir.path().join("kubectl"), "").unwrap();
        let found = KubeBinaries::in_dir(dir.path()).unwrap();
        assert_eq!(found.kubectl, dir.path().join("kubectl"));
    }
}
