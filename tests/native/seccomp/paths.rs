//! `under PATH`, on whatever way a file is named.

use std::{fs, os::unix::fs::symlink};

use anyhow::{Context, Result};
use chaos_tests::machine::Shared;
use tempfile::TempDir;

use super::{Ran, answers_by_seccomp, require_seccomp, support};

#[test]
fn a_file_is_found_however_it_is_named() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let directory = TempDir::new()?;
    let root = directory.path().to_str().context("a path in UTF-8")?;
    fs::create_dir(format!("{root}/data"))?;
    fs::create_dir(format!("{root}/database"))?;
    fs::write(format!("{root}/data/file"), "in\n")?;
    fs::write(format!("{root}/database/file"), "out\n")?;
    symlink("data", format!("{root}/link"))?;
    let fault = format!("fail open with EIO under {root}/data");
    for (script, expected) in [
        ("cat data/file", 1),
        ("cat link/file", 1),
        ("cat ./database/../data/./file", 1),
        ("cd data && cat file", 1),
        ("cd link && cat ../data/file", 1),
        ("exec 9<data; cat /proc/self/fd/9/file", 1),
        ("exec 9<data; cat /dev/fd/9/file", 1),
        ("cat database/file", 0),
        ("cd data && cat ../database/file", 0),
    ] {
        // The shell's own `exec 9<data` must not fail.
        let fault = match script.starts_with("exec") {
            true => format!("{fault}/file"),
            false => fault.clone(),
        };
        let script = format!("cd {root} && {script}");
        let ran = Ran::under(&fault, &[], &["sh", "-c", &*script])?;
        assert_eq!(ran.code, Some(expected), "{script}: {}", ran.ledger);
        assert_eq!(ran.counts(0), (expected as u64, expected as u64), "{script}: {}", ran.ledger);
    }
    Ok(())
}

#[test]
fn descriptors_that_are_open_already_are_matched() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let directory = TempDir::new()?;
    let root = directory.path().to_str().context("a path in UTF-8")?;
    fs::create_dir(format!("{root}/data"))?;
    fs::write(format!("{root}/data/file"), "in\n")?;
    let fault = format!("fail read with EIO under {root}/data; fail fsync with EIO under {root}");
    for (script, code) in [
        ("cat data/file", 1),
        ("cat < data/file", 1),
        ("mv data other; cat other/file", 0),
        ("mv other data; dd if=/dev/zero of=data/new count=1 conv=fsync 2>/dev/null", 1),
    ] {
        let script = format!("cd {root} && {script}");
        let ran = Ran::under(&fault, &[], &["sh", "-c", &*script])?;
        assert_eq!(ran.code, Some(code), "{script}: {}", ran.ledger);
    }
    Ok(())
}

/// A full disk without filling one.
#[test]
fn a_full_disk() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let directory = TempDir::new()?;
    let root = directory.path().to_str().context("a path in UTF-8")?;
    let fault = format!("fail write with ENOSPC under {root}");
    let script = format!("dd if=/dev/zero of={root}/file count=1 2>&1");
    let ran = Ran::under(&fault, &[], &["sh", "-c", &*script])?;
    assert_eq!(ran.code, Some(1));
    assert!(ran.lines.concat().contains("No space left on device"), "{:?}", ran.lines);
    assert_eq!(fs::metadata(format!("{root}/file"))?.len(), 0);
    Ok(())
}
