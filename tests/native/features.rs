//! What `doctor` finds on this kernel.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use aya::programs::loaded_programs;
use chaos_ebpf_common::object::{CALL_GUARD, CALL_GUARD_ACCESS, CALL_GUARD_FILE, CALL_GUARD_OPEN};
use chaos_engine::kernel::TrialTarget;
use chaos_plan::{Backend, Hook};
use chaos_tests::{
    cgroup::TestCgroup,
    machine::{Quiet, Shared},
    require,
    requirements::{Release, Verdict, judge},
    residue::Snapshot,
};

use crate::{
    agent::{Agent, answers, features, has},
    syscalls::{answered, at_best},
};

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
    assert_eq!(features(&quiet)?.hooks().count(), Hook::ALL.len());
    for hook in Hook::ALL {
        match judge(hook.name(), Some(since(hook)), running, has(&quiet, hook)) {
            Verdict::Run => {}
            Verdict::Skip(reason) => println!("{reason}"),
            Verdict::Fail(reason) => panic!("{reason}"),
        }
    }
    before.settle(&quiet, &[])?.assert_empty();
    Ok(())
}

/// The verifier gives up after a million instructions. Far below that arming gets slow: it walks
/// about a million a second, and a target waits for each of its hooks.
const MOST_INSTRUCTIONS: u32 = 100_000;

#[test]
fn the_verifier_is_soon_through_with_every_program() -> Result<()> {
    let _shared = Shared::acquire()?;
    let running = Release::running()?;
    let mut target = TrialTarget::load(u64::MAX, 0)?;
    for hook in Hook::ALL {
        let began = std::time::Instant::now();
        let walked = match target.verified_instructions(hook) {
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

/// Calls that between them need every program on calls, at entries and at security functions.
const CALLS: [&str; 7] = ["open", "read", "fsync", "mmap", "unlink", "connect", "sync"];

#[test]
fn the_verifier_is_soon_through_with_every_program_on_calls() -> Result<()> {
    let quiet = Quiet::acquire()?;
    require!("fmod_ret on security functions"; answers(&quiet, Backend::Security));
    let cgroup = TestCgroup::new(&quiet, "target")?;
    let earlier: BTreeSet<u32> = loaded_programs().flatten().map(|one| one.id()).collect();
    let features = features(&quiet)?;
    let mut walked: BTreeMap<String, (usize, u32)> = BTreeMap::new();
    for backend in [Backend::Entry, Backend::Security] {
        if answers(&quiet, backend).is_err() {
            continue;
        }
        let features = at_best(features, backend);
        let calls = answered(&CALLS, &features, backend)?;
        let mut agent = Agent::with_features(features)?;
        agent.arm(&cgroup, &format!("fail {} with EIO", calls.join(", ")))?;
        for program in loaded_programs().flatten().filter(|one| !earlier.contains(&one.id())) {
            let name = String::from_utf8_lossy(program.name()).into_owned();
            let (count, most) = walked.entry(name).or_default();
            *count += 1;
            *most = program.verified_instruction_count().unwrap_or(0).max(*most);
        }
    }
    for (name, (count, most)) in &walked {
        println!("{name}: {most} instructions, loaded {count} times");
        assert!(*most <= MOST_INSTRUCTIONS, "{name}: {most}");
    }
    for name in [CALL_GUARD, CALL_GUARD_FILE, CALL_GUARD_OPEN, CALL_GUARD_ACCESS] {
        // The kernel keeps 15 characters.
        assert!(walked.contains_key(&name[..name.len().min(15)]), "{name}: {walked:?}");
    }
    Ok(())
}
