//! Many system calls, each by itself and again and again.

use serde::{Deserialize, Serialize};

/// Makes each call `count` times. The victim waits for SIGUSR1 before its loop and stops itself
/// (SIGSTOP) behind it, without another call: whoever put it into a cgroup for the loop alone has
/// all calls of the loop there and no others. The report has one lane for each call, in their
/// order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Syscalls {
    /// Names that [`NAMES`] has.
    pub calls: Vec<String>,
    pub count: u64,
}

/// Every call that the victim knows how to make, so that it succeeds where nothing is injected.
/// Those it needs around them (`openat2`, `mkdirat`, `unlinkat`, `sendmsg`, `recvmsg`, `close`,
/// `munmap`, `lseek`) are not among them.
pub const NAMES: [&str; 43] = [
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
    "getdents64",
    "fallocate",
    "open",
    "openat",
    "creat",
    "mmap",
    "mprotect",
    "ioctl",
    "fcntl",
    "flock",
    "mkdir",
    "rmdir",
    "unlink",
    "rename",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "readlink",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "chmod",
    "fchmod",
    "truncate",
    "ftruncate",
    "utimensat",
    "recvfrom",
    "getsockname",
    "fsync",
    "fdatasync",
];
