//! What this kernel can do, found by doing it.
//!
//! Each program is loaded (the verifier and the helpers decide) and attached to a cgroup of our
//! own or to `lo` of a network namespace of our own, with no rule in force.

use std::{collections::BTreeSet, io, os::fd::BorrowedFd, thread};

use aya::programs::ProgramError;
use nix::sched::{CloneFlags, unshare};

use super::{Instance, KernelError, error::reason, tracer};
use crate::{
    plan::{Backend, Hook, KernelFeatures, Support, attachment},
    seccomp,
};

/// `lo` has this index in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Tries every hook. `probe` is an empty cgroup that the caller made for this and removes
/// afterwards; `None` (there is no cgroup v2, or no right to create one) reports the cgroup hooks
/// as missing for that reason.
pub fn find_features(probe: Result<BorrowedFd<'_>, String>) -> KernelFeatures {
    try_backends(try_hooks(&Hook::ALL.into(), probe))
}

/// The same kernel, with what its backends for system calls can do: each is attached to one
/// function, for a target that does not exist.
pub fn try_backends(features: KernelFeatures) -> KernelFeatures {
    let functions = match tracer::functions() {
        Ok(functions) => functions,
        Err(error) => {
            let missing = Support::Missing {
                reason: error.to_string(),
                remedy: "a kernel with CONFIG_DEBUG_INFO_BTF".to_owned(),
            };
            return [Backend::Entry, Backend::Security]
                .into_iter()
                .fold(features, |features, backend| {
                    features.with_backend(backend, missing.clone())
                });
        }
    };
    let features = features.with_functions(functions.names().map(str::to_owned));
    // The id of no cgroup: no task is the target's.
    let mut instance = Instance::load(u64::MAX, 0);
    PROBES.into_iter().fold(features, |features, (backend, function)| {
        let support = match &mut instance {
            Ok(instance) => try_backend(instance, backend, function),
            Err(error) => missing(error, None),
        };
        features.with_backend(backend, support)
    })
}

/// A function that every kernel has, for each backend.
const PROBES: [(Backend, &str); 2] =
    [(Backend::Entry, "__x64_sys_openat"), (Backend::Security, "security_file_permission")];

fn try_backend(instance: &mut Instance, backend: Backend, function: &str) -> Support {
    let Some(attachment) = attachment(backend, function) else {
        let reason = format!("nothing is attached to {function}");
        return Support::Missing { reason, remedy: String::new() };
    };
    match instance.attach_function(function, &attachment) {
        Ok(_) => Support::Works,
        Err(error) => missing_backend(backend, &error),
    }
}

fn missing_backend(backend: Backend, error: &KernelError) -> Support {
    let reason = error.to_string();
    let remedy = if cfg!(not(target_arch = "x86_64")) {
        "an x86-64 machine"
    } else if reason.contains("not modifiable") {
        "a kernel with CONFIG_FUNCTION_ERROR_INJECTION"
    } else if reason.contains("Operation not permitted") {
        "run as root on a kernel that allows tracing programs (not in lockdown mode)"
    } else if matches!(error, KernelError::NoFunction { .. }) {
        "an x86-64 kernel with CONFIG_SECURITY and CONFIG_DEBUG_INFO_BTF"
    } else if backend == Backend::Security {
        "kernel 5.15 or newer (it has bpf_task_pt_regs), built with CONFIG_SECURITY"
    } else {
        "kernel 5.7 or newer, built with CONFIG_FUNCTION_ERROR_INJECTION and CONFIG_FUNCTION_TRACER"
    };
    Support::Missing { reason, remedy: remedy.to_owned() }
}

/// [`find_features`] for these hooks alone, as trying one keeps the verifier busy for 5 to 50 ms.
/// The others count as not tried.
pub fn try_hooks(hooks: &BTreeSet<Hook>, probe: Result<BorrowedFd<'_>, String>) -> KernelFeatures {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".to_owned());
    // No kernel has the first by this version.
    let unwritten = Support::Missing {
        reason: "this version does not have it".to_owned(),
        remedy: String::new(),
    };
    let nothing = KernelFeatures::nothing(release)
        .with_backend(Backend::Override, unwritten)
        .with_backend(Backend::Seccomp, seccomp::support());
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
    if ["bpf_set_retval", "unknown func", "invalid func"].iter().any(|words| text.contains(words)) {
        return "kernel 5.18 or newer (it has bpf_set_retval)".to_owned();
    }
    match hook {
        Some(hook) if hook.is_tcx() => "kernel 6.6 or newer (it has tcx)".to_owned(),
        _ => "kernel 5.18 or newer, built with CONFIG_CGROUP_BPF".to_owned(),
    }
}
