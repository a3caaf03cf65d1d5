//! Debian's Prometheus, unpacked and not installed, so that no service appears on the machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::paths;

/// The server, and what checks its files.
#[derive(Debug, Clone)]
pub struct PrometheusBinaries {
    pub prometheus: PathBuf,
    pub promtool: PathBuf,
}

impl PrometheusBinaries {
    /// Where `cargo xtask setup prometheus` puts them.
    ///
    /// # Errors
    /// When the machine has no cache directory.
    pub fn dir() -> Result<PathBuf> {
        Ok(paths::cache()?.join("prometheus"))
    }

    /// Those that `cargo xtask setup prometheus` has fetched.
    ///
    /// # Errors
    /// Says what to run when one is missing.
    pub fn find() -> Result<Self> {
        let dir = Self::dir()?;
        let missing = || {
            format!(
                "no prometheus and promtool in {}: run `cargo xtask setup prometheus`",
                dir.display()
            )
        };
        Self::in_dir(&dir).with_context(missing)
    }

    /// The programs in `dir`, if it has both.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Option<Self> {
        let file = |name| Some(dir.join(name)).filter(|path: &PathBuf| path.is_file());
        Some(Self { prometheus: file("prometheus")?, promtool: file("promtool")? })
    }
}
