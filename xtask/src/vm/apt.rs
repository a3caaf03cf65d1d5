//! Packages of other Debian releases than the machine's own: apt with one source, with lists and a
//! cache of its own, which leaves no trace in the machine's configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use xtask::paths;

use super::directory::children;
use crate::command::{capture, run};

/// What Debian signs all its releases with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt for one of Debian's releases.
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Prepares the directories of one of Debian's releases; its lists are fetched by `update`.
    pub fn new(suite: &str) -> Result<Self> {
        let dir = paths::cache()?.join("apt").join(suite);
        let create = |name: &str| {
            let dir = dir.join(name);
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))
        };
        create("state/lists/partial")?;
        create("cache/archives/partial")?;
        create("preferences.d")?;
        create("sources.list.d")?;
        let signed_by = if Path::new(KEYRING).is_file() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let write = |name: &str, contents: &str| {
            let path = dir.join(name);
            fs::write(&path, contents).with_context(|| format!("write {}", path.display()))
        };
        write("sources.list", &format!("deb {signed_by}{} {suite} main\n", mirror()?))?;
        write("status", "")?;
        write("preferences", "")?;
        Ok(Self { dir })
    }

    /// Fetches the release's lists.
    pub fn update(&self) -> Result<()> {
        run(self.command("apt-get").args(["update", "--quiet=2"]))
    }

    /// Downloads packages into the empty directory `dir` and unpacks them to `to`; the version of
    /// the last one.
    pub fn unpack(&self, packages: &[String], dir: &Path, to: &Path) -> Result<String> {
        let mut download = self.command("apt-get");
        run(download.args(["download", "--quiet=2"]).args(packages).current_dir(dir))?;
        let mut version = None;
        for deb in children(dir)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(to))?;
            let field = capture(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Version"))?;
            version = Some(field.trim().to_owned());
            fs::remove_file(&deb).with_context(|| format!("remove {}", deb.display()))?;
        }
        version.context("apt downloaded nothing")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::Etc::SourceParts", "sources.list.d"),
            ("Dir::Etc::Preferences", "preferences"),
            ("Dir::Etc::PreferencesParts", "preferences.d"),
            ("Dir::State", "state"),
            ("Dir::State::Status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("--option").arg(format!("{option}={}", self.dir.join(path).display()));
        }
        // apt's own user may not enter this user's cache.
        command.args(["--option", "APT::Sandbox::User=root"]);
        command
    }

    /// Those packages that `package` depends on whose names are one of `prefixes` and a version.
    pub fn parts(&self, package: &str, prefixes: &[&str]) -> Result<Vec<String>> {
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--recurse", "--important", package]);
        let listing = capture(&mut depends)?;
        let parts = select_parts(&listing, prefixes);
        if parts.is_empty() {
            bail!("{package} depends on no kernel:\n{listing}");
        }
        Ok(parts)
    }
}

/// The packages in the output of `apt-cache depends --recurse` whose names are one of `prefixes`
/// and a version.
fn select_parts(listing: &str, prefixes: &[&str]) -> Vec<String> {
    let is_part = |name: &&str| {
        prefixes.iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    // Names at the beginning of a line are packages, the indented ones what they depend on.
    listing.lines().filter(is_part).map(str::to_owned).collect()
}

/// The Debian mirror that this machine uses.
fn mirror() -> Result<String> {
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
        "Component: main",
    ]))?;
    let mirror = targets.lines().next().filter(|uri| !uri.is_empty());
    mirror.map(str::to_owned).context(
        "apt knows no Debian mirror: this machine's sources are not Debian's, \
         or `apt-get update` has not been run",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_packages_named_after_a_version() {
        let listing = "\
linux-image-amd64
  Depends: linux-image-7.2.13-amd64
linux-image-7.2.13-amd64
  Depends: linux-binary-7.2.13-amd64
linux-binary-7.2.13-amd64
linux-modules-7.2.13-amd64
linux-base-7.2.13-amd64
";
        assert_eq!(select_parts(listing, &["linux-image-"]), ["linux-image-7.2.13-amd64"]);
        let split = ["linux-base-", "linux-modules-"];
        let expected = ["linux-modules-7.2.13-amd64", "linux-base-7.2.13-amd64"];
        assert_eq!(select_parts(listing, &split), expected);
    }
}
