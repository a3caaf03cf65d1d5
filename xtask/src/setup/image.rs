//! What the static agent is linked with besides Rust.

use anyhow::Result;

use super::packages;

/// `musl-gcc`, which compiles the C and the assembly of `ring`.
const PACKAGES: &[&str] = &["musl-tools"];

pub fn ensure() -> Result<()> {
    packages::install(PACKAGES)
}
