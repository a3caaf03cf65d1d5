//! Systemd units by their name.

use chaos_api::UnitName;

use super::{
    Cgroup, CgroupRoot, TargetError,
    container::{absolute, container_of_name},
    tree::Step,
};

/// Whether a directory of this name is the unit's cgroup. systemd puts `_` before names that the kernel could want
/// for its own files (`cg_escape()`, src/basic/cgroup-util.c).
fn is_directory(unit: &UnitName, name: &str) -> bool {
    name == unit.as_str() || name.strip_prefix('_') == Some(unit.as_str())
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
        if name.to_str().is_some_and(|name| is_directory(unit, name)) {
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
    use crate::cgroup::fake::{FakeTree, id};

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
            assert!(matches!(find(&tree, bad), Err(TargetError::Malformed(_))), "{bad}");
        }
    }
}
