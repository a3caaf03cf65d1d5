//! Programs that copy files, on a disk that is full or broken.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use chaos_tests::machine::Shared;

use super::{Scene, contents, is_empty, require_paths};
use crate::{compiler::Compiler, seccomp::Ran};

const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/copies/copy.go");
const JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/native/copies/Copy.java");
const PYTHON: &str = "import shutil, sys; shutil.copyfile(*sys.argv[1:])";
const NODE: &str = "require('fs').copyFileSync(...process.argv.slice(1))";

/// Programs that copy: source and destination come behind.
fn programs() -> Result<Vec<Vec<String>>> {
    let mut programs: Vec<Vec<String>> = [
        &["cp"][..],
        &["install"],
        &["sh", "-c", "cat \"$0\" > \"$1\""],
        &["sh", "-c", "dd if=\"$0\" of=\"$1\" bs=64k"],
        &["python3", "-c", PYTHON],
        &["node", "-e", NODE],
        &["java", "-XX:TieredStopAtLevel=1", JAVA],
    ]
    .into_iter()
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .collect();
    programs.retain(|words| if words[0] == "node" { is_node() } else { is_there(&words[0]) });
    if is_there("go") {
        programs.push(vec![Compiler::new()?.go(GO, "copy")?]);
    }
    Ok(programs)
}

/// Whether `node` is Node; a machine of the lab has another program of this name first on its path.
fn is_node() -> bool {
    let version = Command::new("node").arg("--version").stderr(Stdio::null()).output();
    let found = version.is_ok_and(|version| version.stdout.starts_with(b"v"));
    if !found {
        println!("skipped: there is no node");
    }
    found
}

/// Whether there is such a program; says so if not.
fn is_there(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|directory| directory.join(name).exists());
    if !found {
        println!("skipped: there is no {name}");
    }
    found
}

struct Copied {
    code: Option<i32>,
    said: String,
    matched: u64,
    injected: u64,
    source: PathBuf,
    copy: PathBuf,
}

impl Copied {
    /// The program said so, copied nothing, and every call that matched was hit.
    #[track_caller]
    fn assert_failed(&self, program: &[String], name: &str, text: &str) {
        let Self { code, said, matched, injected, copy, .. } = self;
        assert_ne!(*code, Some(0), "{program:?}: {said}");
        assert!(says(said, name, text), "{program:?}: {said}");
        assert!(is_empty(copy), "{program:?}");
        assert!(*matched > 0 && matched == injected, "{program:?}: {matched}, {injected}");
    }
}

/// Has a program copy from one directory to another under a fault.
fn copied(
    scene: &Scene,
    program: &[String],
    what: &str,
    (from, to): (&str, &str),
) -> Result<Copied> {
    let (source, copy) = scene.ends(from, to)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
    // What it says goes by standard output, which the fault does not concern.
    let script = ["exec \"$@\" 2>&1"].map(str::to_owned);
    let shell = ["sh", "-c"].map(str::to_owned);
    let command =
        [&shell[..], &script, &["sh".to_owned()], program, &[text(&source)?, text(&copy)?]]
            .concat();
    let ran = Ran::under(&scene.fault(what)?, &[], &command)?;
    let (matched, injected) = ran.counts(0);
    Ok(Copied { code: ran.code, said: ran.lines.join("\n"), matched, injected, source, copy })
}

/// Other words for the same: of the C library, of Node and of Java.
fn says(said: &str, name: &str, text: &str) -> bool {
    said.contains(name) || said.to_lowercase().contains(&text.to_lowercase())
}

#[test]
fn nothing_gets_onto_a_full_disk() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for program in programs()? {
        let full = copied(&scene, &program, "write with ENOSPC", ("other", "full"))?;
        full.assert_failed(&program, "ENOSPC", "No space left on device");
    }
    Ok(())
}

#[test]
fn a_full_disk_can_be_read() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for program in programs()? {
        let read = copied(&scene, &program, "write with ENOSPC", ("full", "other"))?;
        assert_eq!((read.code, read.matched), (Some(0), 0), "{program:?}: {}", read.said);
        assert_eq!(fs::read(&read.copy)?, contents(), "{program:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_read_from_a_broken_disk() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for program in programs()? {
        let broken = copied(&scene, &program, "read with EIO", ("full", "other"))?;
        broken.assert_failed(&program, "EIO", "Input/output error");
        let written = copied(&scene, &program, "read with EIO", ("other", "full"))?;
        assert_eq!((written.code, written.matched), (Some(0), 0), "{program:?}: {}", written.said);
        assert_eq!(fs::read(&written.copy)?, fs::read(&written.source)?, "{program:?}");
    }
    Ok(())
}

/// What the tests above rest on: without a fault each of them copies.
#[test]
fn without_a_fault_all_of_them_copy() -> Result<()> {
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for program in programs()? {
        let (source, copy) = scene.ends("other", "full")?;
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).args([&source, &copy]).stderr(Stdio::null());
        assert!(command.status()?.success(), "{program:?}");
        assert_eq!(fs::read(&copy)?, contents(), "{program:?}");
    }
    Ok(())
}
