//! Kernels in the cache.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use xtask::paths;

use super::{
    apt::Apt,
    debian,
    directory::{children, only_child},
    kernels::{Kernel, Origin},
    source,
};

/// A kernel that is there to be booted.
#[derive(Debug)]
pub struct Installed {
    /// The compressed kernel.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`, with its `modules.dep`, if the kernel has modules.
    pub modules: Option<PathBuf>,
}

/// The kernel from the cache; made when the cache has none, which then stays: to move to a newer
/// one, remove it from the cache.
pub fn ensure(kernel: &Kernel) -> Result<Installed> {
    let cache = paths::cache()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let key = key(kernel);
    // Whoever wants the same kernel meanwhile waits and finds it made.
    let lock = cache.join(format!(".{key}.lock"));
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock().with_context(|| format!("lock {}", kernel.name))?;
    let dir = match newest(&cache, &key)? {
        Some(dir) => dir,
        None => make(kernel, &key, &cache)?,
    };
    let modules = dir.join("lib/modules");
    let modules = if modules.is_dir() { Some(only_child(&modules)?) } else { None };
    Ok(Installed { image: dir.join("vmlinuz"), modules })
}

/// How the names of a kernel's directories in the cache begin; the version follows. A kernel that
/// is built anew when its configuration changes has a digest of that.
fn key(kernel: &Kernel) -> String {
    let mut key = kernel.name.to_owned();
    if let Origin::Source { config, .. } = kernel.origin {
        key.push('-');
        for byte in &Sha256::digest(config)[..4] {
            write!(key, "{byte:02x}").expect("a String takes every write");
        }
    }
    key
}

/// Puts a kernel together beside its place in the cache and then moves it there, so that one that
/// is half done is never used. Whatever it was made from goes away.
fn make(kernel: &Kernel, key: &str, cache: &Path) -> Result<PathBuf> {
    let apt = Apt::new(kernel.suite)?;
    eprintln!("  fetching {} from Debian {} ...", kernel.name, kernel.suite);
    apt.update()?;
    let place = tempfile::tempdir_in(cache).context("make a directory in the cache")?;
    let (work, made) = (place.path().join("work"), place.path().join("kernel"));
    for dir in [&work, &made] {
        fs::create_dir(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let version = match kernel.origin {
        Origin::Packages { package, parts } => debian::make(&apt, package, parts, &work, &made)?,
        Origin::Source { package, config } => source::make(&apt, package, config, &work, &made)?,
    };
    let dir = cache.join(format!("{key}-{version}"));
    fs::rename(&made, &dir).with_context(|| format!("move to {}", dir.display()))?;
    Ok(dir)
}

/// The kernel that was cached last under this key.
fn newest(cache: &Path, key: &str) -> Result<Option<PathBuf>> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for path in children(cache)? {
        let is_named = path
            .file_name()
            .and_then(|file| file.to_str())
            .is_some_and(|file| file.strip_prefix(key).is_some_and(|rest| rest.starts_with('-')));
        if is_named {
            let time = path.metadata().and_then(|metadata| metadata.modified());
            let time = time.with_context(|| format!("stat {}", path.display()))?;
            found = found.max(Some((time, path)));
        }
    }
    Ok(found.map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_that_very_name_is_taken() {
        let cache = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::create_dir(cache.path().join(name)).unwrap();
        make("debian-6.12-6.12.1-1");
        make(".tmp1");
        assert_eq!(newest(cache.path(), "debian-6.1").unwrap(), None);
        make("debian-6.1-6.1.170-1");
        let found = newest(cache.path(), "debian-6.1").unwrap();
        assert_eq!(found, Some(cache.path().join("debian-6.1-6.1.170-1")));
    }

    #[test]
    fn a_kernel_of_another_configuration_is_another() {
        let built = |config| Kernel {
            name: "own",
            suite: "trixie",
            origin: Origin::Source { package: "linux-source", config },
        };
        let key_of_a = key(&built("CONFIG_A=y"));
        assert!(key_of_a.starts_with("own-"), "{key_of_a}");
        assert_eq!(key_of_a, key(&built("CONFIG_A=y")));
        assert_ne!(key_of_a, key(&built("CONFIG_A=n")));
    }
}
