//! Systemd units by their name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Cgroup, CgroupRoot, TargetError,
    container::{absolute, container_of_name},
    tree::Step,
};

/// Kinds of unit that have a cgroup.
const KINDS: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];

/// The name of a systemd unit as `systemctl` prints it, its escapes (`\x2d`) included; a name
/// without a suffix is a service's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a directory of this name is the unit's cgroup. systemd puts `_` before names that
    /// the kernel could want for its own files (`cg_escape()`, src/basic/cgroup-util.c).
    fn is_directory(&self, name: &str) -> bool {
        name == self.0 || name.strip_prefix('_') == Some(self.as_str())
    }
}

impl FromStr for UnitName {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        let suffix = given.rsplit_once('.').map(|(_, suffix)| suffix);
        let name = match suffix {
            Some(suffix) if KINDS.contains(&suffix) => given.to_owned(),
            _ => format!("{given}.service"),
        };
        // systemd.unit(5): at most 255 bytes of these characters.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte);
        if given.is_empty()
            || given.starts_with('.')
            || name.len() > 255
            || !given.bytes().all(allowed)
        {
            return Err(TargetError::Malformed {
                given: given.to_owned(),
                expected: "the name of a systemd unit, such as nginx.service",
            });
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for UnitName {
    type Error = TargetError;

    fn try_from(given: String) -> Result<Self, TargetError> {
        given.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds the cgroup of a running unit: a system unit if there is one, otherwise a user's.
/// Units of a systemd inside a container are not looked at.
pub fn find_unit(root: &CgroupRoot, unit: &UnitName) -> Result<Cgroup, TargetError> {
    let mut found = Vec::new();
    root.top().walk(&mut |path| {
        let Some(name) = path.file_name() else { return Step::Skip };
        if container_of_name(name).is_some() {
            return Step::Skip;
        }
        if name.to_str().is_some_and(|name| unit.is_directory(name)) {
            found.push(path.to_owned());
        }
        Step::Descend
    })?;
    let system: Vec<_> =
        found.iter().filter(|path| path.starts_with("system.slice")).cloned().collect();
    match if system.is_empty() { &found } else { &system }.as_slice() {
        [path] => root.top().below(path),
        [] => Err(TargetError::NotFound {
            what: format!("running unit {unit}"),
            mount: root.mount_point().to_owned(),
            near: Vec::new(),
        }),
        several => Err(TargetError::Ambiguous {
            what: format!("unit {unit}"),
            candidates: several.iter().map(|path: &std::path::PathBuf| absolute(path)).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::target::fake::{FakeTree, id};

    fn find(tree: &FakeTree, name: &str) -> Result<String, TargetError> {
        let cgroup = find_unit(&tree.root(), &name.parse()?)?;
        Ok(Path::display(cgroup.path()).to_string())
    }

    #[test]
    fn system_units_first_then_users() {
        let tree = FakeTree::new();
        tree.cgroup("system.slice/nginx.service");
        tree.cgroup("user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service");
        tree.cgroup("user.slice/user-1000.slice/user@1000.service/app.slice/editor.service");
        tree.cgroup("system.slice/system-getty.slice/getty@tty1.service");
        tree.cgroup(r"system.slice/my\x2dapp.service");
        tree.cgroup("system.slice/_cgroup.service");
        assert_eq!(find(&tree, "nginx.service").unwrap(), "/system.slice/nginx.service");
        assert_eq!(find(&tree, "nginx").unwrap(), "/system.slice/nginx.service");
        assert!(find(&tree, "editor.service").unwrap().starts_with("/user.slice/"));
        assert!(find(&tree, "getty@tty1").unwrap().ends_with("/getty@tty1.service"));
        assert!(find(&tree, r"my\x2dapp").is_ok());
        assert_eq!(find(&tree, "cgroup.service").unwrap(), "/system.slice/_cgroup.service");
    }

    #[test]
    fn ambiguous_missing_and_malformed() {
        let tree = FakeTree::new();
        for user in ["1000", "1001"] {
            tree.cgroup(&format!(
                "user.slice/user-{user}.slice/user@{user}.service/app.slice/sync.service"
            ));
        }
        tree.cgroup(&format!("system.slice/docker-{}.scope/system.slice/inner.service", id('a')));
        let ambiguous = find(&tree, "sync").unwrap_err().to_string();
        assert!(ambiguous.contains("user-1000") && ambiguous.contains("user-1001"), "{ambiguous}");
        assert!(matches!(find(&tree, "inner"), Err(TargetError::NotFound { .. })));
        for bad in ["", ".service", "a/b.service", "a b", "../x"] {
            assert!(matches!(find(&tree, bad), Err(TargetError::Malformed { .. })), "{bad}");
        }
    }
}
