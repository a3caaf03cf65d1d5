//! The resolvers of two C libraries.

use std::os::unix::fs::symlink;

use anyhow::Result;
use chaos_tests::require;

use super::{compare, is_installed};
use crate::compiler::Compiler;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/clients/resolve.c");

/// Compares what `resolve.c` reports under this name, made by that compiler.
fn resolve(heading: &str, name: &str, compiler: &str, options: &[&str]) -> Result<()> {
    require!("a C compiler"; is_installed(compiler));
    compare(heading, |scene| {
        let program = Compiler::new()?.compile(compiler, SOURCE, name, options)?;
        Ok(symlink(program, scene.path().join(name))?)
    })
}

#[test]
fn glibc() -> Result<()> {
    resolve("getaddrinfo of glibc 2.36", "resolve-glibc", "gcc", &[])
}

#[test]
fn musl() -> Result<()> {
    resolve("getaddrinfo of musl 1.2", "resolve-musl", "musl-gcc", &["-static"])
}
