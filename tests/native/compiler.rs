//! Small programs in C and Go, compiled for a test.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Where programs stay, by what they are made of: a machine of the lab finds those that the host has
/// compiled, and would take ten seconds for each.
const KEPT: &str = env!("CARGO_TARGET_TMPDIR");

/// A directory to compile in; it goes with the test.
pub struct Compiler {
    directory: TempDir,
}

impl Compiler {
    pub fn new() -> Result<Self> {
        fs::create_dir_all(KEPT).with_context(|| format!("make {KEPT}"))?;
        Ok(Self { directory: TempDir::new_in(KEPT)? })
    }

    /// Compiles `source` with `gcc` or the like; the program's path, which ends with `name`.
    pub fn compile(
        &self,
        with: &str,
        source: &str,
        name: &str,
        options: &[&str],
    ) -> Result<String> {
        let text = fs::read(source).with_context(|| format!("read {source}"))?;
        let mut hasher = DefaultHasher::new();
        (with, text, options).hash(&mut hasher);
        self.keep(hasher.finish(), name, |program| {
            let mut command = Command::new(with);
            command.args(["-O2", "-o"]).arg(program).arg(source).args(options);
            command
        })
    }

    /// Compiles `source` in Go; the program's path, which ends with `name`.
    pub fn go(&self, source: &str, name: &str) -> Result<String> {
        let text = fs::read(source).with_context(|| format!("read {source}"))?;
        let mut hasher = DefaultHasher::new();
        ("go", text).hash(&mut hasher);
        self.keep(hasher.finish(), name, |program| {
            let mut command = Command::new("go");
            command.args(["build", "-o"]).arg(program).arg(source);
            command
        })
    }

    /// The program that was made of this before, or that a command makes now.
    fn keep(
        &self,
        made_of: u64,
        name: &str,
        making: impl FnOnce(&Path) -> Command,
    ) -> Result<String> {
        let directory = Path::new(KEPT).join(format!("{made_of:016x}"));
        let kept = directory.join(name);
        if !kept.exists() {
            fs::create_dir_all(&directory)?;
            let program = self.directory.path().join(name);
            let mut command = making(&program);
            let output = command.output().with_context(|| format!("start {command:?}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{command:?}: {said}");
            // At once, so that nobody finds half of it.
            fs::rename(&program, &kept).with_context(|| format!("keep {}", kept.display()))?;
        }
        Ok(kept.to_str().context("a path in UTF-8")?.to_owned())
    }
}
