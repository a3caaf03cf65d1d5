//! Small programs in C, compiled for a test.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

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
