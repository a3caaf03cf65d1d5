//! Kernels that are built from Debian's sources with a configuration of our own.

use std::{fs, path::Path, process::Command, thread::available_parallelism};

use anyhow::{Context as _, Result, bail};

use super::{apt::Apt, directory::only_child};
use crate::command::run;

/// Fetches the sources, builds them in the empty directory `work` and puts the kernel into `to`. The
/// version of the sources.
pub fn make(apt: &Apt, package: &str, config: &str, work: &Path, to: &Path) -> Result<String> {
    let (debs, root, tree) = (work.join("debs"), work.join("root"), work.join("tree"));
    for dir in [&debs, &tree] {
        fs::create_dir(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let version = apt.unpack(&[package.to_owned()], &debs, &root)?;
    eprintln!("  building {package} {version}, 5 to 10 minutes on 2 cores ...");
    let archive = root.join("usr/src").join(format!("{package}.tar.xz"));
    run(Command::new("tar").arg("--extract").arg("--file").arg(&archive).current_dir(&tree))?;
    fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    let tree = only_child(&tree)?;
    configure(&tree, config)?;
    let jobs = available_parallelism().context("count the processors")?;
    run(make_command(&tree).arg(format!("--jobs={jobs}")).arg("bzImage"))?;
    let (image, target) = (tree.join("arch/x86/boot/bzImage"), to.join("vmlinuz"));
    fs::rename(&image, &target).with_context(|| format!("move {}", image.display()))?;
    Ok(version)
}

/// Configures the sources, and fails when they did not take all of `config`.
fn configure(tree: &Path, config: &str) -> Result<()> {
    let wanted = tree.join("wanted.config");
    fs::write(&wanted, config).with_context(|| format!("write {}", wanted.display()))?;
    run(make_command(tree).arg("allnoconfig").env("KCONFIG_ALLCONFIG", &wanted))?;
    let result = tree.join(".config");
    let result =
        fs::read_to_string(&result).with_context(|| format!("read {}", result.display()))?;
    let missing = missing(config, &result);
    if !missing.is_empty() {
        bail!("the kernel does not take these settings: {}", missing.join(", "));
    }
    Ok(())
}

/// The settings of `config` that are not in `result`.
fn missing<'a>(config: &'a str, result: &str) -> Vec<&'a str> {
    let settings = config.lines().filter(|line| line.starts_with("CONFIG_"));
    settings.filter(|setting| !result.lines().any(|line| line == *setting)).collect()
}

/// `make`, which lets whoever else uses this machine go first.
fn make_command(tree: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["make", "--silent"]).current_dir(tree);
    // cargo's; make would take jobs from it.
    command.env_remove("MAKEFLAGS");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_were_not_taken_are_named() {
        let config = "# comment\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=\"c\"\n";
        let result = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"c\"\nCONFIG_D=y\n";
        assert_eq!(missing(config, result), ["CONFIG_B=y"]);
    }
}
