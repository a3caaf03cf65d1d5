//! Small programs in C, compiled for the test.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Where programs stay, by what they are made of: a machine of the lab finds those that the host has
/// compiled, and would take ten seconds for each.
const KEPT: &str = env!("CARGO_TARGET_TMPDIR");

const RAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/raw.c");
const THREADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/threads.c");

const URING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/uring.c");

const LIBC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/libc.c");

/// Without a C library.
const FREESTANDING: &[&str] =
    &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"];

/// A directory to compile in; it goes with the test.
pub struct Programs {
    directory: TempDir,
}

impl Programs {
    pub fn new() -> Result<Self> {
        fs::create_dir_all(KEPT).with_context(|| format!("make {KEPT}"))?;
        Ok(Self { directory: TempDir::new_in(KEPT)? })
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

    /// `uring.c`.
    pub fn uring(&self) -> Result<String> {
        self.compile("gcc", URING, "uring", &[])
    }

    fn compile(&self, with: &str, source: &str, name: &str, options: &[&str]) -> Result<String> {
        let text = fs::read(source).with_context(|| format!("read {source}"))?;
        let mut hasher = DefaultHasher::new();
        (with, text, options).hash(&mut hasher);
        let directory = Path::new(KEPT).join(format!("{:016x}", hasher.finish()));
        let kept = directory.join(name);
        if !kept.exists() {
            fs::create_dir_all(&directory)?;
            let program = self.directory.path().join(name);
            let mut command = Command::new(with);
            command.args(["-O2", "-o"]).arg(&program).arg(source).args(options);
            let output = command.output().with_context(|| format!("start {with}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{with} {source} {options:?}: {said}");
            // At once, so that nobody finds half of it.
            fs::rename(&program, &kept).with_context(|| format!("keep {}", kept.display()))?;
        }
        Ok(kept.to_str().context("a path in UTF-8")?.to_owned())
    }
}
