//! What this kernel can do, found by doing it.
//!
//! Each program is loaded (the verifier and the helpers decide) and attached to a cgroup of our
//! own or to `lo` of a network namespace of our own, with no rule in force.

use std::{collections::BTreeSet, io, os::fd::BorrowedFd, thread};

use aya::programs::ProgramError;
use nix::sched::{CloneFlags, unshare};

use super::{Instance, KernelError, error::reason};
use crate::{
    plan::{Backend, Hook, KernelFeatures, Support},
    seccomp,
};

/// `lo` has this index in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Tries every hook. `probe` is an empty cgroup that the caller made for this and removes
/// afterwards; `None` (there is no cgroup v2, or no right to create one) reports the cgroup hooks
/// as missing for that reason.
pub fn find_features(probe: Result<BorrowedFd<'_>, String>) -> KernelFeatures {
    try_hooks(&Hook::ALL.into(), probe)
}

/// [`find_features`] for these hooks alone, as trying one keeps the verifier busy for 5 to 50 ms.
/// The others count as not tried.
pub fn try_hooks(hooks: &BTreeSet<Hook>, probe: Result<BorrowedFd<'_>, String>) -> KernelFeatures {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".to_owned());
    let nothing =
        Backend::ALL.into_iter().fold(KernelFeatures::nothing(release), |features, backend| {
            let reason = "this version does not have it".to_owned();
            features.with_backend(backend, Support::Missing { reason, remedy: String::new() })
        });
    let nothing = nothing.with_backend(Backend::Seccomp, seccomp::support());
    // The id of no cgroup: nothing that passes the probe is the target's.
    let mut instance = match Instance::load(u64::MAX, 0) {
        Ok(instance) => instance,
        Err(error) => {
            let missing = missing(&error, None);
            return hooks
                .iter()
                .copied()
                .fold(nothing, |features, hook| features.with(hook, missing.clone()));
        }
    };
    hooks.iter().copied().fold(nothing, |features, hook| {
        let support = match try_hook(&mut instance, hook, &probe) {
            Ok(()) => Support::Works,
            Err(Attempt::Failed(error)) => missing(&error, Some(hook)),
            Err(Attempt::NoCgroup(reason)) => Support::Missing {
                reason,
                remedy: "run as root on a machine with cgroup v2 mounted".to_owned(),
            },
        };
        features.with(hook, support)
    })
}

enum Attempt {
    Failed(KernelError),
    NoCgroup(String),
}

fn try_hook(
    instance: &mut Instance,
    hook: Hook,
    probe: &Result<BorrowedFd<'_>, String>,
) -> Result<(), Attempt> {
    instance.load_program(hook).map_err(Attempt::Failed)?;
    if hook.is_tcx() {
        return in_empty_namespace(|| {
            instance.attach_interface(hook, LOOPBACK, "lo of an empty namespace").map(drop)
        })
        .map_err(Attempt::Failed);
    }
    match probe {
        Ok(cgroup) => instance
            .attach_cgroup(hook, *cgroup, "made for probing")
            .map(drop)
            .map_err(Attempt::Failed),
        Err(reason) => Err(Attempt::NoCgroup(reason.clone())),
    }
}

/// Runs `attempt` in a thread with a network namespace of its own, which ends with the thread.
fn in_empty_namespace(
    attempt: impl FnOnce() -> Result<(), KernelError> + Send,
) -> Result<(), KernelError> {
    thread::scope(|scope| {
        let attempt = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::Call {
                call: "unshare(CLONE_NEWNET)",
                source: io::Error::from(errno),
            })?;
            attempt()
        });
        attempt.join().unwrap_or_else(|_| {
            Err(KernelError::Call { call: "probe thread", source: io::Error::other("it panicked") })
        })
    })
}

fn missing(error: &KernelError, hook: Option<Hook>) -> Support {
    let denied = "run as root, or grant CAP_NET_ADMIN and CAP_SYS_ADMIN; a kernel in lockdown mode may \
                  refuse all the same";
    let (reason, remedy) = match error {
        KernelError::Load { source, .. } => (reason(source), newer_kernel(source, hook)),
        KernelError::Attach { source, .. } => (reason(source), newer_kernel(source, hook)),
        other => (other.to_string(), String::new()),
    };
    let remedy = if reason.contains("Operation not permitted") || remedy.is_empty() {
        denied.to_owned()
    } else {
        remedy
    };
    Support::Missing { reason, remedy }
}

/// The first kernel that is known to have what the hook's program uses.
fn newer_kernel(error: &ProgramError, hook: Option<Hook>) -> String {
    let text = reason(error);
    if text.contains("bpf_set_retval") || text.contains("unknown func") {
        return "kernel 5.18 or newer (it has bpf_set_retval)".to_owned();
    }
    match hook {
        Some(hook) if hook.is_tcx() => "kernel 6.6 or newer (it has tcx)".to_owned(),
        _ => "kernel 5.18 or newer, built with CONFIG_CGROUP_BPF".to_owned(),
    }
}
