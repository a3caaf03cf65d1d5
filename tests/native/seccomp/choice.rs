//! What `run` answers calls by, where it has a choice.

use anyhow::{Context, Result};
use chaos_plan::{Backend, Support};
use chaos_tests::machine::{Claim, Shared};
use tempfile::NamedTempFile;

use super::{Ran, programs::Programs};
use crate::agent::features;

/// The best that works here.
fn best(machine: &impl Claim) -> Result<Backend, String> {
    let features = features(machine).map_err(|error| error.to_string())?;
    let works = |backend: &Backend| features.support(*backend) == Support::Works;
    Backend::ALL.into_iter().find(works).ok_or_else(|| "no backend works".to_owned())
}

/// The kernel itself, where it lets programs answer calls; a supervisor where it does not.
#[test]
fn run_goes_to_a_supervisor_only_where_the_kernel_cannot_answer() -> Result<()> {
    let machine = Shared::acquire()?;
    let best = best(&machine);
    chaos_tests::require!("answering calls", since 5, 9; best.as_ref().map(drop));
    let by = format!("by {}", best.map_err(anyhow::Error::msg)?);
    let file = NamedTempFile::new()?;
    let command = ["chmod".as_ref(), "600".as_ref(), file.path().as_os_str()];
    let ran = Ran::under("fail chmod with EDQUOT", &[], &command)?;
    let calls = ran.ledger["faults"][0]["calls"].as_array().context("calls")?;
    assert!(!calls.is_empty());
    for call in calls {
        let call = call.as_str().context("a call")?;
        assert!(call.ends_with(&by), "{call}, not {by}");
    }
    assert_eq!((ran.code, ran.counts(0)), (Some(1), (1, 1)), "{:?}", ran.lines);
    Ok(())
}

/// By all the numbers that they have for a call, whatever answers it; where that does not reach
/// them, the plan says so.
#[test]
fn programs_of_32_bits_are_reached_by_whatever_answers() -> Result<()> {
    let machine = Shared::acquire()?;
    let best = best(&machine);
    chaos_tests::require!("answering calls", since 5, 9; best.as_ref().map(drop));
    let best = best.map_err(anyhow::Error::msg)?;
    let program = Programs::new()?;
    let file = NamedTempFile::new()?;
    let path = file.path().to_str().context("a path in UTF-8")?;
    // chown with wide and with narrow ids, and `ipc` with SEMGET.
    let (chown32, chown, semget) = (format!("212,s{path}"), format!("182,s{path}"), "117,2,0,1");
    let raw = program.raw_i386()?;
    let mut command = vec![&*raw, "3", &*chown32, &*chown];
    let mut fault = "fail chown with EDQUOT".to_owned();
    // semget passes no security function before it looks for what there is.
    let asks_semget = best != Backend::Security;
    if asks_semget {
        command.push(semget);
        fault.push_str("; fail semget with ENOSPC");
    }
    let ran = Ran::under(&fault, &[], &command)?;
    let notes = ran.ledger["faults"][0]["notes"].to_string();
    if notes.contains("programs of 32 bits: left alone") {
        assert_eq!(ran.lines[..2], ["OK*3", "OK*3"], "{}", ran.ledger);
        return Ok(());
    }
    assert_eq!(ran.lines[..2], ["-122*3", "-122*3"], "{}", ran.ledger);
    assert_eq!(ran.counts(0), (6, 6), "{}", ran.ledger);
    if asks_semget {
        assert_eq!(ran.lines[2], "-28*3");
        assert_eq!(ran.counts(1), (3, 3), "{}", ran.ledger);
    }
    Ok(())
}
