//! What the kernel refused.

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use chaos_plan::Hook;
use thiserror::Error;

/// A bpf(2) call, or what leads to one, that failed.
#[derive(Debug, Error)]
pub enum KernelError {
    #[error("load the BPF object: {}", brief(.0))]
    Object(#[from] EbpfError),
    #[error("open the log of the BPF programs: {}", brief(.0))]
    Log(#[from] aya_log::Error),
    #[error("the BPF object has no {what} {name}")]
    Lacks { what: &'static str, name: &'static str },
    #[error("load the program for {hook}: {}", reason(.source))]
    Load { hook: Hook, source: ProgramError },
    #[error(
        "load the program for {hook}: the type information of this kernel does not say where a socket has \
         its cgroup"
    )]
    UnknownSockets { hook: Hook },
    #[error("attach {hook} to {object}: {}", reason(.source))]
    Attach { hook: Hook, object: String, source: ProgramError },
    /// <https://github.com/torvalds/linux/blob/v6.12/include/linux/bpf_mprog.h> `BPF_MPROG_MAX`
    #[error(
        "attach {hook} to {object}: it has 63 programs, and the kernel takes no more; detach one of them, or ask for \
         faults that need no frames"
    )]
    Full { hook: Hook, object: String },
    #[error("run the program for {hook}: {}", brief(.source))]
    Run { hook: Hook, source: ProgramError },
    #[error("{call} map {map}: {}", brief(.source))]
    Map { call: &'static str, map: &'static str, source: MapError },
    #[error("the BPF object cannot be linked: {reason}")]
    Broken { reason: String },
    #[error("this kernel has no {function}")]
    NoFunction { function: String },
    #[error("load the program for {function}: {source}{}{complaint}", if complaint.is_empty() { "" } else { ": " })]
    LoadCall { function: String, source: io::Error, complaint: String },
    #[error("attach to {function}: {source}")]
    AttachCall { function: String, source: io::Error },
    #[error("no room for {what}: the agent has room for {room}{remedy}")]
    NoRoom { what: &'static str, room: u32, remedy: &'static str },
    #[error("{call}: {source}")]
    Call { call: &'static str, source: io::Error },
}

/// The last link of a chain of errors says what the kernel answered; the ones before repeat it.
fn brief(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    if last.to_string() == error.to_string() {
        error.to_string()
    } else {
        format!("{error}: {last}")
    }
}

/// How lines of the verifier's log begin that are its accounts: they stand behind what it says.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/verifier.c> `print_verification_stats`
const ACCOUNTS: [&str; 3] = ["processed ", "stack depth ", "verification time "];

/// The last line of the verifier's log that says what was wrong.
pub(super) fn last_words(log: &str) -> Option<&str> {
    let is_account = |line: &str| ACCOUNTS.iter().any(|account| line.starts_with(account));
    log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_account(line))
}

/// A program error without the verifier's whole log: its last words say what was wrong.
pub(super) fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            match last_words(&log) {
                Some(complaint) => format!("{io_error}: {complaint}"),
                None => io_error.to_string(),
            }
        }
        other => brief(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_what_was_wrong() {
        let log = "0: (b7) r1 = -1\n1: (85) call unknown#187\nunknown func unknown#187\n\
                   verification time 73 usec\nstack depth 40+16+40+0\n\
                   processed 26 insns (limit 1000000) max_states_per_insn 0 total_states 2\n\n";
        assert_eq!(last_words(log), Some("unknown func unknown#187"));
        assert_eq!(last_words("processed 0 insns\n"), None);
    }
}
