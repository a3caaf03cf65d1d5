//! System calls by name.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use syscalls::{aarch64, x86_64};

use super::{
    mistake::Mistake,
    model::{Call, Errno},
};

/// Functions of section 2 of the manual that the kernel knows under another name.
const ALIASES: [(&str, &str); 15] = [
    ("fstatat", "newfstatat"),
    ("posix_fadvise", "fadvise64"),
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
    ("recv", "recvfrom"),
    ("send", "sendto"),
    ("sigaction", "rt_sigaction"),
    ("sigpending", "rt_sigpending"),
    ("sigprocmask", "rt_sigprocmask"),
    ("sigqueue", "rt_sigqueueinfo"),
    ("sigreturn", "rt_sigreturn"),
    ("sigsuspend", "rt_sigsuspend"),
    ("umount", "umount2"),
    ("wait", "wait4"),
    ("waitpid", "wait4"),
];

/// Calls about a socket.
const SOCKET_CALLS: [&str; 18] = [
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
];

/// What calls fail with in the field, for examples: of several calls with one errno the first stands for
/// all.
const USUAL_ERRNOS: [(&[&str], &str); 11] = [
    (&["connect"], "ECONNREFUSED"),
    (&["bind", "listen"], "EADDRINUSE"),
    (&["sendto", "sendmsg", "sendmmsg"], "ENETUNREACH"),
    (&["recvfrom", "recvmsg", "recvmmsg"], "ECONNRESET"),
    (
        &["socket", "socketpair", "accept", "accept4", "pipe", "pipe2", "dup", "epoll_create1"],
        "EMFILE",
    ),
    (&["setsockopt", "getsockopt", "kill", "mount", "ptrace"], "EPERM"),
    (
        &["write", "pwrite64", "writev", "fallocate", "ftruncate", "copy_file_range", "sendfile"],
        "ENOSPC",
    ),
    (&["mmap", "brk", "mremap", "mprotect"], "ENOMEM"),
    (&["clone", "clone3", "fork", "vfork"], "EAGAIN"),
    (&["execve", "execveat"], "ENOENT"),
    (
        &["open", "mkdir", "rename", "unlink", "stat", "newfstatat", "statx", "access", "chmod"],
        "EACCES",
    ),
];

static NAMES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    x86_64::Sysno::iter()
        .map(|call| call.name())
        .chain(aarch64::Sysno::iter().map(|call| call.name()))
        .collect()
});

impl Call {
    /// The call of this name, in any case: one that x86_64 or aarch64 has, or a function of
    /// section 2 of the manual that is another call in the kernel (`send` is `sendto`).
    pub fn from_name(name: &str) -> Result<Self, Mistake> {
        let lower = name.to_ascii_lowercase();
        // The alias first: aarch64's table has `fstatat` for what the kernel calls newfstatat.
        let canonical = ALIASES
            .iter()
            .find(|(alias, _)| *alias == lower)
            .map_or(lower.as_str(), |(_, canonical)| canonical);
        match NAMES.get(canonical) {
            Some(known) => Ok(Self((*known).to_owned())),
            None => Err(Mistake::new(format!("`{name}` is not a system call"))
                .help("names are those of syscalls(2), such as openat or fsync")
                .meant(&lower, || Self::names().collect())),
        }
    }

    /// An errno that it fails with in the field; EIO for calls of which none is known.
    pub(super) fn usual_errno(&self) -> &'static str {
        let known = USUAL_ERRNOS.iter().find(|(calls, _)| calls.contains(&self.name()));
        known.map_or("EIO", |(_, errno)| errno)
    }

    /// A call that fails with this errno in the field.
    pub(super) fn usually_failing(errno: Errno) -> Option<&'static str> {
        let (calls, _) = USUAL_ERRNOS.iter().find(|(_, usual)| *usual == errno.name())?;
        calls.first().copied()
    }

    /// Whether the call is about a socket, so that a protocol can be asked for.
    pub fn is_socket_call(&self) -> bool {
        SOCKET_CALLS.contains(&self.name())
    }

    /// Whether the socket can have a peer when the call is made; one being created cannot.
    pub fn can_have_peer(&self) -> bool {
        self.is_socket_call() && !matches!(self.name(), "socket" | "socketpair")
    }

    /// Every name that [`Call::from_name`] takes.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_of_calls_and_errnos_that_there_are() {
        let mut seen = BTreeSet::new();
        for (calls, errno) in USUAL_ERRNOS {
            assert!(Errno::from_name(errno).is_ok(), "{errno}");
            for call in calls {
                assert_eq!(Call::from_name(call).unwrap().usual_errno(), errno);
                assert!(seen.insert(call), "{call} is there twice");
            }
        }
    }

    #[test]
    fn calls_of_both_architectures_are_known() {
        for name in ["open", "openat", "fsync", "connect", "accept", "mmap", "brk", "getdents"] {
            assert_eq!(Call::from_name(name).unwrap().name(), name);
        }
        assert_eq!(Call::from_name("RECV").unwrap().name(), "recvfrom");
    }

    #[test]
    fn every_alias_leads_to_a_real_call() {
        for (alias, canonical) in ALIASES {
            assert!(NAMES.contains(canonical), "{canonical}");
            assert_eq!(Call::from_name(alias).unwrap().name(), canonical);
        }
        for name in SOCKET_CALLS {
            assert!(NAMES.contains(name), "{name}");
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_call() {
        let mistake = Call::from_name("opneat").unwrap_err();
        assert_eq!(mistake.remedy().as_deref(), Some("did you mean `openat`?"));
    }

    #[test]
    fn a_socket_being_created_has_no_peer() {
        let call = |name| Call::from_name(name).unwrap();
        assert!(call("connect").can_have_peer());
        assert!(call("socket").is_socket_call() && !call("socket").can_have_peer());
        assert!(!call("read").is_socket_call());
    }
}
