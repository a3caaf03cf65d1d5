//! The security functions that system calls pass, one for each way a call can go.
//!
//! A program in front of such a function decides about the call: it looks at which call is under
//! way, so that opening a program by `execve` is not mistaken for `open`. Found by reading
//! <https://github.com/torvalds/linux/blob/v6.12/security/security.c> and its callers; whether a
//! kernel has the function is found by looking ([`KernelFeatures::has_function`]).

use chaos_ebpf_common::object::{CALL_GUARD, CALL_GUARD_ACCESS, CALL_GUARD_FILE, CALL_GUARD_OPEN};

use super::{End, KernelFeatures};

/// A security function and the calls that pass it exactly once before they do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) function: &'static str,
    pub(super) calls: &'static [&'static str],
    /// The calls that copy from one file to another, and pass it for each: for the source as `read`
    /// does, for the destination as `write` does. Before kernel 6.8 they do so again as they go on.
    pub(super) copying: &'static [&'static str],
    /// What a request by io_uring counts as here, where it passes at all.
    pub(super) uring: Option<&'static str>,
    /// The program that knows the function's arguments.
    pub(super) program: &'static str,
}

const fn guard(function: &'static str, calls: &'static [&'static str]) -> Guard {
    Guard { function, calls, copying: &[], uring: None, program: CALL_GUARD }
}

const fn with_uring(guard: Guard, call: &'static str) -> Guard {
    Guard { uring: Some(call), ..guard }
}

/// Its first argument is the file.
const fn of_file(guard: Guard) -> Guard {
    Guard { program: CALL_GUARD_FILE, ..guard }
}

const GUARDS: [Guard; 38] = [
    Guard {
        function: "security_file_permission",
        calls: &[
            "read",
            "pread64",
            "readv",
            "preadv",
            "preadv2",
            "write",
            "pwrite64",
            "writev",
            "pwritev",
            "pwritev2",
            "getdents",
            "getdents64",
            "fallocate",
        ],
        copying: &["copy_file_range", "sendfile", "splice", "ioctl"],
        uring: None,
        program: CALL_GUARD_ACCESS,
    },
    Guard {
        program: CALL_GUARD_OPEN,
        ..with_uring(guard("security_file_open", &["open", "openat", "openat2", "creat"]), "openat")
    },
    of_file(guard("security_mmap_file", &["mmap"])),
    guard("security_file_mprotect", &["mprotect", "pkey_mprotect"]),
    guard("security_vm_enough_memory_mm", &["brk"]),
    of_file(guard("security_file_ioctl", &["ioctl"])),
    of_file(guard("security_file_ioctl_compat", &["ioctl"])),
    of_file(guard("security_file_fcntl", &["fcntl"])),
    of_file(guard("security_file_lock", &["flock"])),
    with_uring(guard("security_inode_mkdir", &["mkdir", "mkdirat"]), "mkdirat"),
    guard("security_inode_rmdir", &["rmdir", "unlinkat"]),
    with_uring(guard("security_inode_unlink", &["unlink", "unlinkat"]), "unlinkat"),
    with_uring(guard("security_inode_rename", &["rename", "renameat", "renameat2"]), "renameat2"),
    with_uring(guard("security_inode_link", &["link", "linkat"]), "linkat"),
    with_uring(guard("security_inode_symlink", &["symlink", "symlinkat"]), "symlinkat"),
    guard("security_inode_mknod", &["mknod", "mknodat"]),
    guard("security_inode_create", &["mknod", "mknodat"]),
    guard("security_inode_readlink", &["readlink", "readlinkat"]),
    with_uring(
        guard("security_inode_getattr", &["stat", "lstat", "fstat", "newfstatat", "statx"]),
        "statx",
    ),
    guard(
        "security_inode_setattr",
        &[
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "lchown",
            "fchown",
            "fchownat",
            "truncate",
            "ftruncate",
            "utime",
            "utimes",
            "utimensat",
            "futimesat",
        ],
    ),
    guard("security_inode_getxattr", &["getxattr", "lgetxattr", "fgetxattr"]),
    guard("security_inode_setxattr", &["setxattr", "lsetxattr", "fsetxattr"]),
    guard("security_inode_listxattr", &["listxattr", "llistxattr", "flistxattr"]),
    guard("security_inode_removexattr", &["removexattr", "lremovexattr", "fremovexattr"]),
    with_uring(guard("security_socket_create", &["socket"]), "socket"),
    with_uring(guard("security_socket_bind", &["bind"]), "bind"),
    with_uring(guard("security_socket_connect", &["connect"]), "connect"),
    with_uring(guard("security_socket_listen", &["listen"]), "listen"),
    with_uring(guard("security_socket_accept", &["accept", "accept4"]), "accept4"),
    with_uring(guard("security_socket_sendmsg", &["sendto", "sendmsg"]), "sendmsg"),
    with_uring(guard("security_socket_recvmsg", &["recvfrom", "recvmsg"]), "recvmsg"),
    guard("security_socket_getsockname", &["getsockname"]),
    guard("security_socket_getpeername", &["getpeername"]),
    guard("security_socket_getsockopt", &["getsockopt"]),
    guard("security_socket_setsockopt", &["setsockopt"]),
    with_uring(guard("security_socket_shutdown", &["shutdown"]), "shutdown"),
    guard("security_task_alloc", &["fork", "vfork", "clone", "clone3"]),
    guard("security_bprm_creds_for_exec", &["execve", "execveat"]),
];

/// Where the path of a file is remembered: when it is opened, and when one is read or written that
/// was opened before.
pub(super) const OPENING: &str = "security_file_open";
pub(super) const ACCESS: &str = "security_file_permission";

impl Guard {
    /// Whether the call, or this end of it, passes the function.
    fn is_passed_by(&self, call: &str, end: Option<End>) -> bool {
        let calls = if end.is_some() { self.copying } else { self.calls };
        calls.contains(&call)
    }
}

/// Whether the call passes a function that knows which file it is about.
pub(super) fn sees_file(call: &str, end: Option<End>) -> bool {
    GUARDS.iter().any(|guard| guard.is_passed_by(call, end) && guard.program != CALL_GUARD)
}

/// The functions of this kernel that the call passes; it passes one of them each time.
pub(super) fn functions(call: &str, end: Option<End>, features: &KernelFeatures) -> Vec<String> {
    GUARDS
        .iter()
        .filter(|guard| guard.is_passed_by(call, end) && features.has_function(guard.function))
        .map(|guard| guard.function.to_owned())
        .collect()
}

/// Whether the call passes any security function that this table knows.
pub(super) fn is_guarded(call: &str, end: Option<End>) -> bool {
    GUARDS.iter().any(|guard| guard.is_passed_by(call, end))
}

/// The entry of this function.
pub(super) fn find(function: &str) -> Option<&'static Guard> {
    GUARDS.iter().find(|guard| guard.function == function)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use syscalls::x86_64::Sysno;

    use super::*;

    #[test]
    fn every_call_is_one_and_every_function_is_there_once() {
        let functions: BTreeSet<&str> = GUARDS.iter().map(|guard| guard.function).collect();
        assert_eq!(functions.len(), GUARDS.len());
        for guard in GUARDS {
            assert!(guard.function.starts_with("security_"), "{}", guard.function);
            for call in guard.calls.iter().chain(guard.copying).chain(&guard.uring) {
                assert!(call.parse::<Sysno>().is_ok(), "{call}");
            }
            assert!(guard.uring.is_none_or(|call| guard.calls.contains(&call)));
        }
    }

    #[test]
    fn a_kernel_without_the_function_does_not_guard_the_call() {
        let features =
            KernelFeatures::nothing("6.1.0").with_functions(["security_inode_unlink".to_owned()]);
        assert_eq!(functions("unlinkat", None, &features), ["security_inode_unlink"]);
        assert_eq!(functions("mkdir", None, &features), [""; 0]);
        assert!(is_guarded("read", None) && !is_guarded("fsync", None));
        assert!(sees_file("openat", None) && sees_file("mmap", None) && !sees_file("mkdir", None));
    }

    #[test]
    fn what_copies_passes_by_its_ends() {
        let all = KernelFeatures::everything("6.12.0");
        for end in [End::Source, End::Destination] {
            assert_eq!(functions("ioctl", Some(end), &all), [ACCESS]);
            assert!(sees_file("splice", Some(end)));
        }
        assert!(!is_guarded("splice", None), "it would be asked about twice");
        assert!(!functions("ioctl", None, &all).contains(&ACCESS.to_owned()));
    }
}
