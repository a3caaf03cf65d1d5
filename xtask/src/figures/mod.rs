//! What the benchmark measures: it prints it as JSON, and `cargo xtask bench` makes a page of it.

pub mod cluster;
pub mod delays;
pub mod rates;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

/// Takes the last line that the benchmark has printed.
pub fn read<T: DeserializeOwned>(printed: &str) -> Result<T> {
    let line = printed.lines().rfind(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("no figures in what was printed:\n{printed}"))?;
    serde_json::from_str(line).context("read the figures")
}
