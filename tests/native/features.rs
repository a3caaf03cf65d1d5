//! What `doctor` finds on this kernel.

use anyhow::Result;
use chaos_agent::kernel::Instance;
use chaos_agent::plan::Hook;
use chaos_tests::machine::{Quiet, Shared};
use chaos_tests::requirements::{Release, Verdict, judge};
use chaos_tests::residue::Snapshot;

use crate::agent::{features, has};

/// The first kernel in which a hook cannot be missing where cgroup BPF is there at all.
fn since(hook: Hook) -> Release {
    match hook {
        Hook::TcxEgress | Hook::TcxIngress => Release::new(6, 6),
        Hook::ClsactEgress | Hook::ClsactIngress => Release::new(4, 5),
        _ => Release::new(5, 18),
    }
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

/// The verifier gives up after a million instructions. Far below that arming gets slow: it walks
/// about a million a second, and a target waits for each of its hooks.
const MOST_INSTRUCTIONS: u32 = 100_000;

#[test]
fn the_verifier_is_soon_through_with_every_program() -> Result<()> {
    let _shared = Shared::acquire()?;
    let running = Release::running()?;
    let mut instance = Instance::load(u64::MAX, 0)?;
    for hook in Hook::ALL {
        let began = std::time::Instant::now();
        let walked = match instance.verified_instructions(hook) {
            Ok(walked) => walked,
            Err(error) if running < since(hook) => {
                println!("{hook}: not on {running}: {error:#}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        println!("{hook}: {walked:?} instructions, {:?}", began.elapsed());
        assert!(walked.is_none_or(|walked| walked <= MOST_INSTRUCTIONS), "{hook}: {walked:?}");
    }
    Ok(())
}
