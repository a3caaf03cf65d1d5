//! What this kernel can do, found by doing it.
//!
//! Each program is loaded (the verifier and the helpers decide) and attached to a cgroup of our
//! own or to `lo` of a network namespace of our own, with no rule in force.

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use aya::programs::ProgramError;
use chaos_ebpf_common::{
    LOOPBACK,
    line::{DEVICES, QUEUE},
};
use chaos_plan::{Backend, DelayLine, Hook, KernelFeatures, Position, Support, attachment};
use nix::sched::{CloneFlags, unshare};

use super::{
    KernelError, Naming, Object, Tap, Veth, error::reason, freed_memory, injectable::injectable,
    object::NOBODY, tracer,
};
use crate::seccomp;

/// What is made for a trial is called.
const TRIAL: &str = "chaos-agent-trial";
const TRIAL_DEVICE: &str = "chaos-trial";

/// Tries everything. `probe` is an empty cgroup that the caller made for this and removes
/// afterwards; `None` (there is no cgroup v2, or no right to create one) reports the cgroup hooks
/// as missing for that reason.
pub fn find_features(probe: Result<BorrowedFd<'_>, String>) -> KernelFeatures {
    let mut trials = Trials::new();
    trials.try_hooks(&Hook::ALL.into(), probe);
    trials.try_backends();
    trials.try_lines();
    let Trials { features, .. } = trials;
    freed_memory::give_back();
    features
}

/// Of this kernel, as `uname -r` prints it.
pub fn release() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}

/// What has been tried so far, for those who need less than [`find_features`]: trying one hook
/// keeps the verifier busy for 5 to 50 ms. What was not tried counts as missing.
pub struct Trials {
    /// For a target that does not exist: no rule is in force, and no task and no packet is its own.
    object: Result<Object, KernelError>,
    features: KernelFeatures,
}

impl Trials {
    /// Nothing has been tried yet.
    #[expect(clippy::new_without_default, reason = "it loads the object")]
    pub fn new() -> Self {
        Self { object: Object::load(&[]), features: KernelFeatures::nothing(release()) }
    }

    /// What is known by now.
    pub fn features(&self) -> &KernelFeatures {
        &self.features
    }

    /// Tries these hooks, and the fallbacks of those that are missing; `probe` as in
    /// [`find_features`].
    pub fn try_hooks(&mut self, hooks: &BTreeSet<Hook>, probe: Result<BorrowedFd<'_>, String>) {
        for hook in hooks.iter().copied() {
            if self.try_one(hook, &probe) != Support::Works
                && let Some(fallback) = hook.fallback()
            {
                self.try_one(fallback, &probe);
            }
        }
    }

    fn try_one(&mut self, hook: Hook, probe: &Result<BorrowedFd<'_>, String>) -> Support {
        let support = match &mut self.object {
            Ok(object) => try_hook(object, hook, probe),
            Err(error) => missing(error, None),
        };
        self.features = self.features.clone().with(hook, support.clone());
        support
    }

    /// Tries the delay lines, after their hooks.
    pub fn try_lines(&mut self) {
        for line in DelayLine::ALL {
            self.try_line(line);
        }
    }

    /// Tries the delay lines up to the first that works, after their hooks.
    pub fn try_best_line(&mut self) {
        for line in DelayLine::ALL {
            if self.try_line(line) == Support::Works {
                return;
            }
        }
    }

    fn try_line(&mut self, line: DelayLine) -> Support {
        // Of the two hooks only those that are needed have been tried.
        let by_filter = [Hook::TcxEgress, Hook::TcxIngress]
            .into_iter()
            .any(|hook| self.features.stand_in(hook).is_filter());
        let support = match &mut self.object {
            Ok(object) => try_line(object, line, by_filter),
            Err(error) => missing(error, None),
        };
        self.features = self.features.clone().with(line, support.clone());
        support
    }

    /// Tries the backends for system calls that no hook answers: each is attached to one function.
    pub fn try_backends(&mut self) {
        // A filter of seccomp would be accepted there, and let every call pass.
        if let Some(lack) = Backend::lack_on(ARCH) {
            Backend::ALL.into_iter().for_each(|backend| self.learn(backend, lack.clone()));
            return;
        }
        self.learn(Backend::Seccomp, seccomp::support());
        let functions = match tracer::functions() {
            Ok(functions) => functions,
            Err(error) => {
                let missing = Support::Missing {
                    reason: error.to_string(),
                    remedy: "a kernel with CONFIG_DEBUG_INFO_BTF".to_owned(),
                };
                for (backend, _) in PROBES {
                    self.learn(backend, missing.clone());
                }
                return;
            }
        };
        // Entries of calls that the kernel was built without are there, too, and lead nowhere.
        let injectable = injectable().ok();
        let takes_32_bit = self.try_function(Backend::Entry, ENTRY_32_BIT) == Support::Works;
        let is_there = |name: &&str| {
            if name.starts_with(tracer::MODULE) {
                return false;
            }
            let is_injectable = injectable.as_ref().map(|injectable| injectable.contains(*name));
            // Most of those that serve both kinds of callers are part of an entry, and none.
            let is_entry = is_injectable.unwrap_or(!name.starts_with(ENTRIES_OF_BOTH));
            name.starts_with(SECURITY)
                || is_entry && (takes_32_bit || !name.starts_with(ENTRIES_32_BIT))
        };
        let names = functions.names().filter(is_there).map(str::to_owned);
        self.features = self.features.clone().with_functions(names);
        for (backend, function) in PROBES {
            let support = self.try_function(backend, function);
            self.learn(backend, support);
        }
    }

    fn try_function(&mut self, backend: Backend, function: &str) -> Support {
        match &mut self.object {
            Ok(object) => try_backend(object, backend, function),
            Err(error) => missing(error, None),
        }
    }

    fn learn(&mut self, backend: Backend, support: Support) {
        self.features = self.features.clone().with(backend, support);
    }
}

/// How security functions begin, which need not be marked for that.
const SECURITY: &str = "security_";

/// How the entries of 32-bit callers begin, and one of them: there are kernels that let entries be
/// modified and not these.
const ENTRIES_32_BIT: &str = "__ia32_";
/// And those of calls without arguments.
const ENTRIES_OF_BOTH: &str = "__do_sys_";
const ENTRY_32_BIT: &str = "__ia32_compat_sys_openat";

/// A function that every kernel has, for each backend.
const PROBES: [(Backend, &str); 2] =
    [(Backend::Entry, "__x64_sys_openat"), (Backend::Security, "security_file_permission")];

fn try_backend(object: &mut Object, backend: Backend, function: &str) -> Support {
    let Some(attachment) = attachment(backend, function) else {
        let reason = format!("nothing is attached to {function}");
        return Support::Missing { reason, remedy: String::new() };
    };
    match object.attach_function(function, &attachment) {
        Ok(_) => Support::Works,
        Err(error) => missing_backend(backend, &error),
    }
}

fn missing_backend(backend: Backend, error: &KernelError) -> Support {
    let reason = error.to_string();
    let remedy = if reason.contains("not modifiable") {
        "a kernel with CONFIG_FUNCTION_ERROR_INJECTION"
    } else if reason.contains("Operation not permitted") {
        "root on a kernel that lets it load tracing programs: lockdown (/sys/kernel/security/lockdown), a \
         security module, a missing CONFIG_FUNCTION_ERROR_INJECTION or the machine's provider can forbid it"
    } else if matches!(error, KernelError::NoFunction { .. }) {
        "a kernel with CONFIG_SECURITY and CONFIG_DEBUG_INFO_BTF"
    } else if backend == Backend::Security {
        "kernel 5.15 or newer (it has bpf_task_pt_regs), built with CONFIG_SECURITY"
    } else {
        "kernel 5.7 or newer, built with CONFIG_FUNCTION_ERROR_INJECTION and CONFIG_FUNCTION_TRACER"
    };
    Support::Missing { reason, remedy: remedy.to_owned() }
}

fn try_hook(object: &mut Object, hook: Hook, probe: &Result<BorrowedFd<'_>, String>) -> Support {
    let attached = object.load_program(hook).and_then(|()| {
        if hook.is_of_interfaces() {
            let naming = Naming { write: &|_| TRIAL.to_owned(), read: &|_| None };
            return in_empty_namespace(|| {
                let name = "lo of an empty namespace";
                let at = (hook, Position::First);
                object.attach_interface(NOBODY, at, (LOOPBACK, name), &naming).map(|_| None)
            });
        }
        match probe {
            Ok(cgroup) => object.attach_cgroup(hook, *cgroup, "made for probing").map(|_| None),
            Err(reason) => Ok(Some(reason.clone())),
        }
    });
    match attached {
        Ok(None) => Support::Works,
        Ok(Some(reason)) => Support::Missing {
            reason,
            remedy: "run as root on a machine with cgroup v2 mounted".to_owned(),
        },
        Err(error) => missing(&error, Some(hook)),
    }
}

/// Makes devices in namespaces of their own and attaches to them.
fn try_line(object: &mut Object, line: DelayLine, by_filter: bool) -> Support {
    let naming = Naming { write: &|_| TRIAL.to_owned(), read: &|_| None };
    let naming = by_filter.then_some(&naming);
    let tried = match line {
        DelayLine::Fq => in_empty_namespace(|| try_queue(object, naming)),
        DelayLine::Tap => in_empty_namespace(|| {
            let tap = Tap::make(DEVICES, TRIAL_DEVICE)?;
            let _guard = object.guard_line(NOBODY, DEVICES, naming)?;
            tap.set_up(TRIAL, QUEUE)?;
            object.attach_line(NOBODY, line, DEVICES, naming).map(drop)
        }),
    };
    let Err(error) = tried else {
        return Support::Works;
    };
    let remedy = match &error {
        KernelError::Call { call: Tap::OPEN, .. } => {
            "a kernel with CONFIG_TUN, and the right to open /dev/net/tun"
        }
        KernelError::Call { call: Veth::ADD_FQ, .. } => "a kernel with CONFIG_NET_SCH_FQ",
        KernelError::Call { call: Veth::MAKE, .. } => "a kernel with CONFIG_VETH",
        _ => return missing(&error, Some(Hook::TcxIngress)),
    };
    Support::Missing { reason: error.to_string(), remedy: remedy.to_owned() }
}

/// With both ends in one namespace.
fn try_queue(object: &mut Object, naming: Option<&Naming<'_>>) -> Result<(), KernelError> {
    let namespace = File::open("/proc/thread-self/ns/net")
        .map_err(|source| KernelError::Call { call: "open /proc/thread-self/ns/net", source })?;
    Veth::make(DEVICES, TRIAL_DEVICE, TRIAL, namespace.as_fd(), DEVICES + 1)?;
    let _near = object.attach_line(NOBODY, DelayLine::Fq, DEVICES, naming)?;
    let mut veth = Veth::take(DEVICES + 1)?;
    veth.queue()?;
    object.attach_queue(DEVICES + 1, naming).map(drop)
}

/// Runs `attempt` in a thread with a network namespace of its own, which ends with the thread.
fn in_empty_namespace<T: Send>(
    attempt: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
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
        KernelError::UnknownSockets { .. } => {
            (error.to_string(), "a kernel with CONFIG_DEBUG_INFO_BTF".to_owned())
        }
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
    if text.contains("bpf_probe_read_kernel") {
        return "a kernel with CONFIG_BPF_EVENTS that is not in the lockdown mode `confidentiality`"
            .to_owned();
    }
    if ["bpf_set_retval", "unknown func", "invalid func"].iter().any(|words| text.contains(words)) {
        return "kernel 5.18 or newer (it has bpf_set_retval)".to_owned();
    }
    if hook.is_some_and(Hook::is_filter) {
        "a kernel with CONFIG_NET_CLS_ACT, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS".to_owned()
    } else if hook.is_some_and(Hook::is_of_interfaces) {
        "kernel 6.6 or newer (it has tcx)".to_owned()
    } else {
        "kernel 5.18 or newer, built with CONFIG_CGROUP_BPF".to_owned()
    }
}
