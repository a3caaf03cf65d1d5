//! Debian's kernels: unpacked into the cache, not installed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use xtask::paths;

use super::{
    apt::Apt,
    kernels::{Installed, Kernel},
};
use crate::command::{capture, run};

/// The kernel from the cache; fetched when the cache has none of that name, which then stays: to
/// move to a newer one, remove it from the cache.
pub fn ensure(kernel: &Kernel) -> Result<Installed> {
    let cache = paths::cache()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let dir = match newest(&cache, kernel.name)? {
        Some(dir) => dir,
        None => fetch(kernel, &cache)?,
    };
    Ok(Installed { image: dir.join("vmlinuz"), modules: only_child(&dir.join("lib/modules"))? })
}

/// The cached kernel of this name that was fetched last.
fn newest(cache: &Path, name: &str) -> Result<Option<PathBuf>> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for path in children(cache)? {
        let is_named = path
            .file_name()
            .and_then(|file| file.to_str())
            .is_some_and(|file| file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
        if is_named {
            let time = path.metadata().and_then(|metadata| metadata.modified());
            let time = time.with_context(|| format!("stat {}", path.display()))?;
            found = found.max(Some((time, path)));
        }
    }
    Ok(found.map(|(_, path)| path))
}

/// Puts a kernel together beside its place in the cache and then moves it there, so that one that
/// is half done is never used.
fn fetch(kernel: &Kernel, cache: &Path) -> Result<PathBuf> {
    let apt = Apt::new(kernel.suite)?;
    eprintln!("  fetching {} from Debian {} ...", kernel.name, kernel.suite);
    run(apt.get().args(["update", "--quiet=2"]))?;
    let packages = apt.parts(kernel)?;
    let work = tempfile::tempdir_in(cache).context("make a directory in the cache")?;
    run(apt.get().arg("download").arg("--quiet=2").args(&packages).current_dir(work.path()))?;

    let (root, built) = (work.path().join("root"), work.path().join("kernel"));
    let mut version = None;
    for deb in children(work.path())? {
        run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&root))?;
        let field = capture(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Version"))?;
        version = Some(field.trim().to_owned());
    }
    let version = version.context("apt downloaded nothing")?;
    assemble(&root, &built)?;
    let dir = cache.join(format!("{}-{version}", kernel.name));
    fs::rename(&built, &dir).with_context(|| format!("move to {}", dir.display()))?;
    Ok(dir)
}

/// Makes `vmlinuz` and `lib/modules/RELEASE` in `to` from unpacked packages.
fn assemble(root: &Path, to: &Path) -> Result<()> {
    let (image, modules) = find_kernel(root)?;
    let release = modules.file_name().context("a directory of modules has a name")?;
    let parent = to.join("lib/modules");
    fs::create_dir_all(&parent).with_context(|| format!("create {}", parent.display()))?;
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).with_context(|| format!("move {}", from.display()))
    };
    rename(&image, &to.join("vmlinuz"))?;
    rename(&modules, &parent.join(release))?;
    // Packages leave modules.dep to the installation.
    run(Command::new("depmod").arg("--basedir").arg(to).arg(release))
}

/// The kernel and the directory of its modules, wherever the release has them.
fn find_kernel(root: &Path) -> Result<(PathBuf, PathBuf)> {
    let dirs = ["lib/modules", "usr/lib/modules"].map(|dir| root.join(dir));
    let dir = dirs.into_iter().find(|dir| dir.is_dir()).context("no directory of modules")?;
    let modules = only_child(&dir)?;
    let release = modules.file_name().context("a directory of modules has a name")?;
    let mut boot = OsString::from("vmlinuz-");
    boot.push(release);
    let images = [root.join("boot").join(boot), modules.join("vmlinuz")];
    let image = images.into_iter().find(|image| image.is_file()).context("no vmlinuz")?;
    Ok((image, modules))
}

fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    list().with_context(|| format!("list {}", dir.display()))
}

fn only_child(dir: &Path) -> Result<PathBuf> {
    let mut children = children(dir)?;
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => bail!("{} does not have exactly one entry", dir.display()),
    }
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
    fn kernels_are_put_together_from_either_layout() {
        for (modules, image) in [
            ("lib/modules/6.1-a", "boot/vmlinuz-6.1-a"),
            ("usr/lib/modules/7.2-a", "usr/lib/modules/7.2-a/vmlinuz"),
        ] {
            let work = tempfile::tempdir().unwrap();
            let root = work.path().join("root");
            for dir in [Path::new(modules), Path::new(image).parent().unwrap()] {
                fs::create_dir_all(root.join(dir)).unwrap();
            }
            fs::write(root.join(image), "kernel").unwrap();
            let found = find_kernel(&root).unwrap();
            assert_eq!(found, (root.join(image), root.join(modules)));
        }
    }
}
