//! What `doctor` finds on this kernel.

use anyhow::Result;
use chaos_agent::plan::Hook;
use chaos_tests::machine::Quiet;
use chaos_tests::requirements::{Release, Verdict, judge};
use chaos_tests::residue::Snapshot;

use crate::agent::{features, has};

/// The first kernel in which a hook cannot be missing where cgroup BPF is there at all.
fn since(hook: Hook) -> Release {
    if hook.is_tcx() { Release::new(6, 6) } else { Release::new(5, 18) }
}

#[test]
fn every_hook_that_this_kernel_ought_to_have_works() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let running = Release::running()?;
    let before = Snapshot::take(&quiet, &[])?;
    assert_eq!(features(&quiet)?.iter().count(), Hook::ALL.len());
    for hook in Hook::ALL {
        match judge(hook.name(), Some(since(hook)), running, has(&quiet, hook)) {
            Verdict::Run => {}
            Verdict::Skip(reason) => println!("{reason}"),
            Verdict::Fail(reason) => panic!("{reason}"),
        }
    }
    before.settle(&quiet, &[], std::time::Duration::from_secs(5))?.assert_empty();
    Ok(())
}
