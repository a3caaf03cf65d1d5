//! The directories of the cgroup v2 hierarchy.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};

use super::Inventory;
use crate::cgroup;

pub(super) fn inventory() -> Result<Inventory> {
    let mut found = Inventory::new();
    let root = cgroup::root()?;
    walk(&root, &mut found)
        .with_context(|| format!("list the cgroups below {}", root.display()))?;
    Ok(found)
}

fn walk(directory: &Path, found: &mut Inventory) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        // Removed since its parent was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.insert(format!("cgroup {}", entry.path().display()));
            walk(&entry.path(), found)?;
        }
    }
    Ok(())
}
