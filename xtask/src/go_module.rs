//! Programs that are built from a Go module of this checkout, into a cache directory that is named
//! after everything that goes into them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::paths;

/// A module with the flags that its programs are built with.
#[derive(Debug)]
pub struct GoModule {
    dir: PathBuf,
    kind: &'static str,
    build_args: Vec<String>,
    digest: String,
}

impl GoModule {
    /// Reads `go.mod` and `go.sum` in `dir`, relative to the workspace. `build_args` makes the
    /// arguments of `go build` from the version that go.mod requires of `main`, `v` included; the
    /// programs are kept under `kind`.
    ///
    /// # Errors
    /// When the files can't be read, or don't require `main`.
    pub fn load(
        dir: &str,
        kind: &'static str,
        main: &str,
        build_args: impl FnOnce(&str) -> Vec<String>,
    ) -> Result<Self> {
        let dir = paths::workspace().join(dir);
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (module, sums) = (read("go.mod")?, read("go.sum")?);
        let version = required_version(&module, main)
            .with_context(|| format!("{}/go.mod requires no {main}", dir.display()))?;
        let build_args = build_args(version);

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
        Ok(Self { dir, kind, build_args, digest })
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
        Ok(paths::cache()?.join(self.kind).join(&self.digest))
    }
}

/// The version that a go.mod requires of a module.
fn required_version<'a>(text: &'a str, module: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|&word| word == "require");
        (words.next() == Some(module)).then(|| words.next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_both_forms_of_require() {
        let version = |text| required_version(text, "k8s.io/kubernetes").map(str::to_owned);
        assert_eq!(version("module m\nrequire k8s.io/kubernetes v1.2.3\n").unwrap(), "v1.2.3");
        let block = "require (\n\tk8s.io/api v0\n\tk8s.io/kubernetes v1.2.4 // indirect\n)\n";
        assert_eq!(version(block).unwrap(), "v1.2.4");
        assert_eq!(version("tool k8s.io/kubernetes/cmd/kubectl\n"), None);
    }

    #[test]
    fn other_flags_are_kept_elsewhere() {
        let load = |flag: &str| {
            let args = |_: &str| vec![flag.to_owned()];
            GoModule::load("tests/kubernetes", "kube", "k8s.io/kubernetes", args).unwrap()
        };
        let (one, same, other) = (load("-a"), load("-a"), load("-b"));
        assert_eq!(one.digest.len(), 16);
        assert_eq!(one.digest, same.digest);
        assert_ne!(one.digest, other.digest);
    }
}
