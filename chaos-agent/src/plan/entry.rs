//! The functions by which x86-64 kernels enter a system call.
//!
//! `SYSCALL_DEFINE` makes one for the native table (`__x64_sys_*`) and one for 32-bit callers
//! (`__ia32_sys_*`, or `__ia32_compat_sys_*` where arguments have another layout):
//! <https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/asm/syscall_wrapper.h>

use super::{KernelFeatures, compat::call_behind_socketcall};

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

/// Functions of 32-bit callers that lead to the same call under yet another name.
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_32.tbl>
const ONLY_32_BIT: [(&str, &[&str]); 16] = [
    ("fallocate", &["__ia32_sys_ia32_fallocate"]),
    ("clone", &["__ia32_sys_ia32_clone", "__ia32_compat_sys_ia32_clone"]),
    ("fadvise64", &["__ia32_sys_ia32_fadvise64", "__ia32_sys_ia32_fadvise64_64"]),
    ("fcntl", &["__ia32_compat_sys_fcntl64"]),
    ("fstat", &["__ia32_compat_sys_ia32_fstat64"]),
    ("fstatfs", &["__ia32_compat_sys_fstatfs64"]),
    ("ftruncate", &["__ia32_sys_ia32_ftruncate64"]),
    ("lseek", &["__ia32_sys_llseek"]),
    ("lstat", &["__ia32_compat_sys_ia32_lstat64"]),
    ("mmap", &["__ia32_sys_mmap_pgoff", "__ia32_compat_sys_ia32_mmap"]),
    ("newfstatat", &["__ia32_compat_sys_ia32_fstatat64"]),
    ("pread64", &["__ia32_sys_ia32_pread64"]),
    ("pwrite64", &["__ia32_sys_ia32_pwrite64"]),
    ("stat", &["__ia32_compat_sys_ia32_stat64"]),
    ("statfs", &["__ia32_compat_sys_statfs64"]),
    ("truncate", &["__ia32_sys_ia32_truncate64"]),
];

const COMPAT_PREFIXES: [&str; 2] = ["__ia32_sys_", "__ia32_compat_sys_"];

/// The function of 64-bit callers.
pub(super) fn native(call: &str) -> String {
    format!("__x64_sys_{}", function(call))
}

/// The functions of 32-bit callers that this kernel has; none where it runs no such programs.
pub(super) fn compat(call: &str, features: &KernelFeatures) -> Vec<String> {
    let function = function(call);
    let regular = COMPAT_PREFIXES.iter().map(|prefix| format!("{prefix}{function}"));
    let multiplexed = call_behind_socketcall(call)
        .then(|| COMPAT_PREFIXES.map(|prefix| format!("{prefix}socketcall")));
    let special = ONLY_32_BIT.iter().filter(|(name, _)| *name == call);
    regular
        .chain(multiplexed.into_iter().flatten())
        .chain(special.flat_map(|(_, functions)| functions.iter().copied().map(str::to_owned)))
        .filter(|function| features.has_function(function))
        .collect()
}

/// Whether it is an entry of 32-bit callers.
pub(super) fn is_compat(function: &str) -> bool {
    COMPAT_PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

fn function(call: &str) -> &str {
    RENAMED.iter().find(|(name, _)| *name == call).map_or(call, |(_, function)| function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_both_kinds_of_callers() {
        assert_eq!(native("openat"), "__x64_sys_openat");
        assert_eq!(native("stat"), "__x64_sys_newstat");
        let features = KernelFeatures::nothing("6.12.0").with_functions(
            ["__ia32_sys_mmap_pgoff", "__ia32_compat_sys_openat", "__ia32_sys_read"]
                .map(str::to_owned),
        );
        assert_eq!(compat("mmap", &features), ["__ia32_sys_mmap_pgoff"]);
        assert_eq!(compat("openat", &features), ["__ia32_compat_sys_openat"]);
        assert_eq!(compat("write", &features), [""; 0]);
    }
}
