//! Small programs in C, compiled for the test.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const RAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/raw.c");
const THREADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/threads.c");

const LIBC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/libc.c");

/// Without a C library.
const FREESTANDING: &[&str] =
    &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"];

/// A directory with programs; it goes with the test.
pub struct Programs {
    directory: TempDir,
}

impl Programs {
    pub fn new() -> Result<Self> {
        Ok(Self { directory: TempDir::new()? })
    }

    /// `raw.c` for x86-64.
    pub fn raw(&self) -> Result<String> {
        self.compile("gcc", RAW, "raw", FREESTANDING)
    }

    /// `raw.c` for i386.
    pub fn raw_i386(&self) -> Result<String> {
        self.compile("gcc", RAW, "raw-i386", &[FREESTANDING, &["-m32"]].concat())
    }

    /// `threads.c` with glibc (`gcc`) or musl (`musl-gcc`).
    pub fn threads(&self, compiler: &str, options: &[&str]) -> Result<String> {
        let name = format!("threads-{compiler}{}", options.concat());
        self.compile(compiler, THREADS, &name, &[options, &["-pthread"]].concat())
    }

    /// `libc.c` with glibc (`gcc`) or musl (`musl-gcc`).
    pub fn libc(&self, compiler: &str, options: &[&str]) -> Result<String> {
        self.compile(compiler, LIBC, &format!("libc-{compiler}{}", options.concat()), options)
    }

    fn compile(&self, with: &str, source: &str, name: &str, options: &[&str]) -> Result<String> {
        let program: PathBuf = self.directory.path().join(name);
        let program = program.to_str().context("a path in UTF-8")?;
        let output = Command::new(with)
            .args(["-O2", "-o", program, source])
            .args(options)
            .output()
            .with_context(|| format!("start {with}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{with} {source} {options:?}: {said}");
        Ok(program.to_owned())
    }
}
