//! The functions by which x86-64 kernels enter a system call.
//!
//! `SYSCALL_DEFINE` makes one for the native table (`__x64_sys_*`) and one for 32-bit callers
//! (`__ia32_sys_*`, or `__ia32_compat_sys_*` where arguments have another layout):
//! <https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/asm/syscall_wrapper.h>

use std::collections::BTreeSet;

use chaos_ebpf_common::object::{ENTRY_BOTH, ENTRY_COMPAT, ENTRY_NATIVE};

use super::{KernelFeatures, abi};

/// Who enters the kernel by a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Callers {
    Native = ENTRY_NATIVE,
    Compat = ENTRY_COMPAT,
    Both = ENTRY_BOTH,
}

/// Calls whose function has another name than the call.
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_64.tbl>
const RENAMED: [(&str, &str); 6] = [
    ("fstat", "newfstat"),
    ("lstat", "newlstat"),
    ("sendfile", "sendfile64"),
    ("stat", "newstat"),
    ("umount2", "umount"),
    ("uname", "newuname"),
];

const COMPAT_PREFIXES: [&str; 2] = ["__ia32_sys_", "__ia32_compat_sys_"];

/// What the functions of 32-bit callers have around the name of the call: earlier forms of it,
/// with narrower numbers, and forms with arguments in another order.
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_32.tbl>
const BEFORE: [&str; 3] = ["", "old_", "ia32_"];
const BEHIND: [&str; 5] = ["", "16", "32", "_time32", "64"];

/// Functions that lead to the call under yet another name.
const ONLY_32_BIT: [(&str, &str); 5] = [
    ("lseek", "llseek"),
    ("mmap", "mmap_pgoff"),
    ("preadv2", "preadv64v2"),
    ("pwritev2", "pwritev64v2"),
    ("umount2", "oldumount"),
];

/// Calls without arguments (`SYSCALL_DEFINE0`). Where the compiler folds their entries into the one
/// function that does the work, type information has only that, and both kinds of callers meet there.
const NO_ARGUMENTS: [&str; 18] = [
    "fork",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "inotify_init",
    "munlockall",
    "pause",
    "restart_syscall",
    "sched_yield",
    "setsid",
    "sync",
    "vfork",
    "vhangup",
];

const BOTH_PREFIX: &str = "__do_sys_";

/// The function of 64-bit callers.
pub(super) fn native(call: &str) -> String {
    format!("__x64_sys_{}", function(call))
}

/// The function of all callers, if there can be one.
pub(super) fn both(call: &str) -> Option<String> {
    NO_ARGUMENTS.contains(&call).then(|| format!("{BOTH_PREFIX}{call}"))
}

/// The functions of 32-bit callers that this kernel has; none where it runs no such programs. One
/// may serve another call besides; what is attached there asks which call is under way.
pub(super) fn compat(call: &str, features: &KernelFeatures) -> Vec<String> {
    let special = ONLY_32_BIT.iter().filter(|(name, _)| *name == call).map(|(_, name)| *name);
    let mut names = vec![call, function(call)];
    for name in abi::i386_names(call).chain(abi::joint(call)).chain(special) {
        names.push(name);
    }
    let functions: BTreeSet<String> = names
        .iter()
        .flat_map(|name| BEFORE.map(|before| format!("{before}{name}")))
        .flat_map(|name| BEHIND.map(|behind| format!("{name}{behind}")))
        .flat_map(|name| COMPAT_PREFIXES.map(|prefix| format!("{prefix}{name}")))
        .filter(|function| features.lists_function(function))
        .collect();
    functions.into_iter().collect()
}

/// Who enters by this function.
pub(super) fn callers(function: &str) -> Callers {
    if COMPAT_PREFIXES.iter().any(|prefix| function.starts_with(prefix)) {
        Callers::Compat
    } else if function.starts_with(BOTH_PREFIX) {
        Callers::Both
    } else {
        Callers::Native
    }
}

fn function(call: &str) -> &str {
    RENAMED.iter().find(|(name, _)| *name == call).map_or(call, |(_, function)| function)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use syscalls::x86_64::Sysno;

    use super::*;

    #[test]
    fn functions_of_both_kinds_of_callers() {
        assert_eq!(native("openat"), "__x64_sys_openat");
        assert_eq!(native("stat"), "__x64_sys_newstat");
        let features = recorded("override-6.12").0;
        let all = KernelFeatures::everything("6.12.0");
        for (call, functions) in [
            ("openat", &["__ia32_compat_sys_openat", "__ia32_sys_openat"][..]),
            ("chown", &["__ia32_sys_chown", "__ia32_sys_chown16"]),
            ("clock_gettime", &["__ia32_sys_clock_gettime"]),
            ("semget", &["__ia32_compat_sys_ipc", "__ia32_sys_semget"]),
            ("shutdown", &SHUTDOWN),
            ("mmap", &MMAP),
        ] {
            assert_eq!(compat(call, &features), functions, "{call}");
        }
        assert_eq!(compat("mmap", &all), [""; 0]);
    }

    #[test]
    fn calls_without_arguments_are_entered_by_one_function() {
        assert_eq!(both("sync").as_deref(), Some("__do_sys_sync"));
        assert_eq!(both("syncfs"), None);
        let features = recorded("override-6.12").0;
        assert!(!features.has_function(&native("sync")));
        assert!(features.has_function("__do_sys_sync"));
        for (function, who) in [
            ("__do_sys_sync", Callers::Both),
            ("__x64_sys_read", Callers::Native),
            ("__ia32_compat_sys_openat", Callers::Compat),
        ] {
            assert_eq!(callers(function), who);
        }
    }

    const SHUTDOWN: [&str; 3] =
        ["__ia32_compat_sys_socketcall", "__ia32_sys_shutdown", "__ia32_sys_socketcall"];
    const MMAP: [&str; 3] =
        ["__ia32_compat_sys_ia32_mmap", "__ia32_sys_mmap", "__ia32_sys_mmap_pgoff"];

    /// What a kernel of the lab can do, and its functions.
    fn recorded(kernel: &str) -> (KernelFeatures, Vec<String>) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/features/{kernel}.json"));
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let functions = serde_json::from_value(json["functions"].clone()).unwrap();
        (serde_json::from_value(json).unwrap(), functions)
    }

    /// What x86-64 has no call for, what other architectures have, and the newest calls, which the
    /// table of `syscalls` does not have yet.
    const FOREIGN: [&str; 27] = [
        "bdflush",
        "file_setattr",
        "gethostname",
        "listns",
        "nice",
        "old_readdir",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "recv",
        "rseq_slice_yield",
        "rtas",
        "s390_ipc",
        "s390_pci_mmio_read",
        "s390_pci_mmio_write",
        "send",
        "sgetmask",
        "signal",
        "spu_create",
        "spu_run",
        "ssetmask",
        "stime",
        "stime32",
        "subpage_prot",
        "sync_file_range2",
        "vm86",
        "vm86old",
    ];

    #[test]
    fn every_entry_of_32_bit_callers_is_known() {
        let (features, functions) = recorded("override-6.12");
        let known: BTreeSet<String> =
            Sysno::iter().flat_map(|call| compat(call.name(), &features)).collect();
        let is_foreign =
            |entry: &str| FOREIGN.iter().any(|name| entry.ends_with(&format!("_sys_{name}")));
        let entries: Vec<&String> =
            functions.iter().filter(|entry| callers(entry) == Callers::Compat).collect();
        assert!(entries.len() > 400, "{}", entries.len());
        let unknown = entries.into_iter().filter(|e| !is_foreign(e) && !known.contains(*e));
        assert_eq!(unknown.collect::<Vec<_>>(), [""; 0]);
    }
}
