//! What copies from file to file, by whichever call, is read by its source and written by its
//! destination.

mod calls;
mod programs;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use chaos_tests::program;
use serde_json::Value;
use tempfile::TempDir;

/// Enough for several blocks.
const SIZE: usize = 300_000;

/// Two directories: faults are for one of them.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let scene = Self { directory };
        for place in ["full", "other"] {
            fs::create_dir(scene.path(place)?)?;
            fs::write(scene.path(&format!("{place}/source"))?, contents())?;
        }
        Ok(scene)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(fs::canonicalize(self.directory.path())?.join(name))
    }

    /// A fault on this call for the directory `full`.
    fn fault(&self, what: &str) -> Result<String> {
        Ok(format!("fail {what} under {}", self.path("full")?.display()))
    }

    /// Where copies go that are made from one directory to another.
    fn ends(&self, from: &str, to: &str) -> Result<(PathBuf, PathBuf)> {
        let copy = self.path(&format!("{to}/copy"))?;
        if copy.exists() {
            fs::remove_file(&copy)?;
        }
        Ok((self.path(&format!("{from}/source"))?, copy))
    }
}

fn contents() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

/// Whether nothing of it is there.
fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}

/// Whether calls that read and write are answered by their paths here, by whatever backend.
pub fn support() -> Result<(), String> {
    let explain = || -> Result<Value> {
        let fault = "fail read, write with EIO under /data";
        let output = Command::new(program::agent()?)
            .args(["explain", "--output", "json", "--fault", fault])
            .output()?;
        serde_json::from_slice(&output.stdout).context("a plan")
    };
    let plan = explain().map_err(|error| format!("{error:#}"))?;
    match &plan["refused"][0]["reason"] {
        Value::String(reason) => Err(reason.clone()),
        _ => Ok(()),
    }
}

/// Skips a test where nothing answers calls by the paths of their files.
macro_rules! require_paths {
    () => {
        chaos_tests::require!("calls by the paths of their files"; crate::copies::support());
    };
}
pub(crate) use require_paths;
