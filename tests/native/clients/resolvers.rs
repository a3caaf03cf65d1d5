//! The resolvers of two C libraries.

use std::os::unix::fs::symlink;

use anyhow::Result;
use chaos_tests::require;

use super::{Scene, is_installed};
use crate::agent::{has_frames, has_line};
use crate::compiler::Compiler;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/clients/resolve.c");

/// Compares what `resolve.c` reports under this name, made by that compiler.
fn compare(heading: &str, name: &str, compiler: &str, options: &[&str]) -> Result<()> {
    require!("a C compiler"; is_installed(compiler));
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    require!("a delay line", since 5, 8; has_line(&scene.pair.claim));
    let program = Compiler::new()?.compile(compiler, SOURCE, name, options)?;
    symlink(program, scene.path().join(name))?;
    scene.compare(heading)
}

#[test]
fn glibc() -> Result<()> {
    compare("getaddrinfo of glibc 2.36", "resolve-glibc", "gcc", &[])
}

#[test]
fn musl() -> Result<()> {
    compare("getaddrinfo of musl 1.2", "resolve-musl", "musl-gcc", &["-static"])
}
