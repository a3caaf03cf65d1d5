//! The calls that copy, one by one.

use std::{fs, path::Path};

use anyhow::Result;
use chaos_tests::machine::Shared;

use super::{Scene, require_paths};
use crate::seccomp::{Ran, programs::Programs};

const ENOSPC: &str = "-28";

/// Numbers and arguments as `raw` takes them: from descriptor 8 to descriptor 9. Descriptor 7 is a
/// pipe to write to, 6 one to read from.
const CALLS: [(&str, &str); 9] = [
    ("copy_file_range", "326,8,0,9,0,3,0"),
    ("sendfile", "40,9,8,0,3"),
    ("splice out of a file", "275,8,0,7,0,3,0"),
    ("splice into a file", "275,6,0,9,0,3,0"),
    // FICLONE, which few file systems can do.
    ("ioctl that clones", "16,9,1074041865,8"),
    // TCGETS of a file: ENOTTY.
    (OTHER_IOCTL, "16,9,21505,b"),
    ("fallocate", "285,9,0,0,10"),
    ("read", "0,8,b,3"),
    ("write", "1,9,b,3"),
];
const OTHER_IOCTL: &str = "ioctl that does not";

/// What `raw` prints for calls from a file of one directory to one of another, and how many calls
/// were hit.
fn made(
    scene: &Scene,
    fault: &str,
    (from, to): (&str, &str),
    calls: &[&str],
) -> Result<(Vec<String>, u64)> {
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let (source, copy) = scene.ends(from, to)?;
    fs::write(&copy, "")?;
    let script = format!(
        "exec 3>&1 8<{} 9<>{}; \
         {{ printf abc | {raw} 1 {} 6<&0 7>&1 >&3; }} | cat > /dev/null",
        source.display(),
        copy.display(),
        calls.join(" "),
    );
    let ran = Ran::under(fault, &[], &["sh", "-c", &*script])?;
    let (matched, injected) = ran.counts(0);
    assert_eq!(matched, injected, "{}", ran.ledger);
    Ok((ran.lines, injected))
}

#[test]
fn each_is_written_by_its_destination_and_read_by_its_source() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    let takes =
        |call: &str| ![OTHER_IOCTL, "fallocate", "write", "splice into a file"].contains(&call);
    let puts = |call: &str| ![OTHER_IOCTL, "read", "splice out of a file"].contains(&call);
    let calls = CALLS.map(|(_, call)| call);
    for (what, from, to, is_hit) in [
        ("write with ENOSPC", "other", "full", &puts as &dyn Fn(&str) -> bool),
        ("write with ENOSPC", "full", "other", &|_| false),
        ("read with ENOSPC", "full", "other", &takes),
        ("read with ENOSPC", "other", "full", &|_| false),
        ("read, write with ENOSPC", "full", "full", &|call| takes(call) || puts(call)),
    ] {
        let (printed, hits) = made(&scene, &scene.fault(what)?, (from, to), &calls)?;
        for ((name, _), result) in CALLS.iter().zip(&printed) {
            let case = format!("{name} from {from} to {to} under {what}: {result}");
            assert_eq!(result == ENOSPC, is_hit(name), "{case}");
        }
        let expected = CALLS.iter().filter(|(name, _)| is_hit(name)).count() as u64;
        assert_eq!(hits, expected, "from {from} to {to} under {what}: {printed:?}");
    }
    Ok(())
}

/// A call that is named itself is meant by either of its files.
#[test]
fn a_call_of_its_own_name_is_met_by_either_file() -> Result<()> {
    chaos_tests::require!("calls by seccomp"; crate::seccomp::answers_by_seccomp());
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for (name, call) in [CALLS[0], CALLS[1]] {
        let fault = scene.fault(&format!("{name} with ENOSPC"))?;
        for (from, to, hits) in [("other", "full", 1), ("full", "other", 1), ("other", "other", 0)]
        {
            let (printed, found) = made(&scene, &fault, (from, to), &[call])?;
            assert_eq!(found, hits, "{name} from {from} to {to}: {printed:?}");
        }
    }
    Ok(())
}

/// Without a path every such call is meant; i386 makes them under other numbers.
#[test]
fn without_a_path_every_file_is_meant() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    let programs = Programs::new()?;
    let (source, copy) = scene.ends("other", "other")?;
    fs::write(&copy, "")?;
    for (raw, openat, calls) in [
        (programs.raw()?, 257, ["326,3,0,4,0,3,0", "40,4,3,0,3", "16,4,1074041865,3"]),
        (programs.raw_i386()?, 295, ["187,4,3,0,3", "239,4,3,0,3", "54,4,1074041865,3"]),
    ] {
        let open = |path: &Path, how: u32| format!("{openat},-100,s{},{how}", path.display());
        for call in calls {
            // `raw` prints by writev.
            for fault in ["fail read with ENOSPC", "fail write with ENOSPC at most 1"] {
                let command = [&*raw, "1", &*open(&source, 0), &*open(&copy, 2), call];
                let ran = Ran::under(fault, &[], &command)?;
                assert_eq!(ran.lines[2], ENOSPC, "{call} under {fault}: {:?}", ran.lines);
                assert_eq!(ran.counts(0).1, 1, "{call} under {fault}: {}", ran.ledger);
            }
        }
    }
    Ok(())
}
