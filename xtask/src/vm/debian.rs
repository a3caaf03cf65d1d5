//! Debian's kernels: unpacked, not installed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{apt::Apt, directory::only_child};
use crate::command::run;

/// Fetches the release's newest kernel and puts it together in `to`, working in the empty directory
/// `work`. Its version.
pub fn make(apt: &Apt, package: &str, parts: &[&str], work: &Path, to: &Path) -> Result<String> {
    let (debs, root) = (work.join("debs"), work.join("root"));
    fs::create_dir(&debs).with_context(|| format!("create {}", debs.display()))?;
    let version = apt.unpack(&apt.parts(package, parts)?, &debs, &root)?;
    assemble(&root, to)?;
    Ok(version)
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

#[cfg(test)]
mod tests {
    use super::*;

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
