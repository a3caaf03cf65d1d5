//! The Kubernetes servers of the tests: built from the Go module `tests/kubernetes` into a cache
//! directory that is named after everything that goes into them.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::paths;

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
        let dir = KubeModule::load()?.cache_dir()?;
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
#[derive(Debug)]
pub struct KubeModule {
    dir: PathBuf,
    build_args: Vec<String>,
    digest: String,
}

impl KubeModule {
    /// Reads `tests/kubernetes/go.mod` and `go.sum`.
    ///
    /// # Errors
    /// When they can't be read, or require no `k8s.io/kubernetes`.
    pub fn load() -> Result<Self> {
        let dir = paths::workspace().join("tests/kubernetes");
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (module, sums) = (read("go.mod")?, read("go.sum")?);
        let version = kubernetes_version(&module)
            .with_context(|| format!("{}/go.mod requires no k8s.io/kubernetes", dir.display()))?;
        // Without gitVersion the server reports v0.0.0-master, which kubectl warns about.
        let ldflags = format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
        let build_args =
            ["-mod=readonly", "-trimpath", "-ldflags", &ldflags].map(str::to_owned).to_vec();

        let mut hasher = Sha256::new();
        for part in
            [module.as_str(), &sums].into_iter().chain(build_args.iter().map(String::as_str))
        {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        let mut digest = String::new();
        for byte in &hasher.finalize()[..8] {
            write!(digest, "{byte:02x}").expect("a String takes every write");
        }
        Ok(Self { dir, build_args, digest })
    }

    /// The module's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The arguments of `go build`, without the output and the packages.
    #[must_use]
    pub fn build_args(&self) -> &[String] {
        &self.build_args
    }

    /// Where the programs of exactly this module and these flags are kept.
    ///
    /// # Errors
    /// When the machine has no cache directory.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        Ok(paths::cache()?.join("kube").join(&self.digest))
    }
}

/// The version that a go.mod requires of `k8s.io/kubernetes`, `v` included.
fn kubernetes_version(module: &str) -> Option<&str> {
    module.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|&word| word == "require");
        (words.next() == Some("k8s.io/kubernetes")).then(|| words.next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_both_forms_of_require() {
        assert_eq!(
            kubernetes_version("module m\nrequire k8s.io/kubernetes v1.2.3\n"),
            Some("v1.2.3")
        );
        assert_eq!(
            kubernetes_version("require (\n\tk8s.io/api v0\n\tk8s.io/kubernetes v1.2.4\n)\n"),
            Some("v1.2.4")
        );
        assert_eq!(kubernetes_version("tool k8s.io/kubernetes/cmd/kubectl\n"), None);
    }

    #[test]
    fn the_module_of_this_checkout_loads() {
        let module = KubeModule::load().unwrap();
        assert!(module.build_args().last().unwrap().contains("gitVersion=v1."));
        assert_eq!(module.digest.len(), 16);
        assert_eq!(module.digest, KubeModule::load().unwrap().digest);
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
