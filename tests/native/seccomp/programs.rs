//! Small programs in C that make system calls.

use anyhow::Result;

use crate::compiler::Compiler;

const RAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/raw.c");
const THREADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/threads.c");

const URING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/uring.c");

const LIBC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/libc.c");

const FUSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/fuse.c");

const UFFD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/seccomp/uffd.c");

/// Without a C library.
const FREESTANDING: &[&str] =
    &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"];

/// Programs that make system calls.
pub struct Programs(Compiler);

impl Programs {
    pub fn new() -> Result<Self> {
        Compiler::new().map(Self)
    }

    /// `raw.c` for x86-64.
    pub fn raw(&self) -> Result<String> {
        self.0.compile("gcc", RAW, "raw", FREESTANDING)
    }

    /// `raw.c` for i386.
    pub fn raw_i386(&self) -> Result<String> {
        self.0.compile("gcc", RAW, "raw-i386", &[FREESTANDING, &["-m32"]].concat())
    }

    /// `threads.c` with glibc (`gcc`) or musl (`musl-gcc`).
    pub fn threads(&self, compiler: &str, options: &[&str]) -> Result<String> {
        let name = format!("threads-{compiler}{}", options.concat());
        self.0.compile(compiler, THREADS, &name, &[options, &["-pthread"]].concat())
    }

    /// `libc.c` with glibc (`gcc`) or musl (`musl-gcc`).
    pub fn libc(&self, compiler: &str, options: &[&str]) -> Result<String> {
        self.0.compile(compiler, LIBC, &format!("libc-{compiler}{}", options.concat()), options)
    }

    /// `uring.c`.
    pub fn uring(&self) -> Result<String> {
        self.0.compile("gcc", URING, "uring", &[])
    }

    /// `fuse.c`.
    pub fn fuse(&self) -> Result<String> {
        self.0.compile("gcc", FUSE, "fuse", &[])
    }

    /// `uffd.c`.
    pub fn uffd(&self) -> Result<String> {
        self.0.compile("gcc", UFFD, "uffd", &["-pthread"])
    }
}
