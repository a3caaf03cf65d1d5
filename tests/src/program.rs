//! Finding programs of this workspace.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// The environment variable that names the agent's program where it is not beside the test's own.
pub const AGENT: &str = "CHAOS_TESTS_AGENT";

/// The one that names the victim's.
pub const VICTIM: &str = "CHAOS_TESTS_VICTIM";

/// The one that names the plugin of kubectl.
pub const PLUGIN: &str = "CHAOS_TESTS_PLUGIN";

/// The program `chaos-agent`.
pub fn agent() -> Result<PathBuf> {
    find("chaos-agent", AGENT)
}

/// The program `kubectl-chaos`.
pub fn plugin() -> Result<PathBuf> {
    find("kubectl-chaos", PLUGIN)
}

/// The program `victim`.
pub fn victim() -> Result<PathBuf> {
    find("victim", VICTIM)
}

/// Cargo puts test binaries into `deps`, one directory below the programs.
fn find(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let test = env::current_exe().context("find the running test's path")?;
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("no {name} near {}: build it, or name it in {variable}", test.display())
        })
}
