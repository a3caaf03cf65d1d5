//! Which arguments of a call name files: what `strace -e trace=%file,%desc` goes by.

use chaos_ebpf_common::tables::{FICLONE, FICLONERANGE};

use super::End;

/// How an argument names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A descriptor in this argument.
    Descriptor(usize),
    /// A path in this argument, relative to the working directory.
    Path(usize),
    /// The same, of a symbolic link itself.
    Link(usize),
    /// A directory's descriptor, and a path relative to it.
    At(usize, usize),
    /// The same, of a symbolic link itself.
    LinkAt(usize, usize),
    /// A descriptor in this argument, of the file that bytes are taken out of.
    Source(usize),
    /// The same, 64 bits wide in the memory that this argument points to.
    SourceAt(usize),
    /// A descriptor in this argument, of the file that bytes are put into.
    Destination(usize),
}

use Named::{At, Descriptor, Destination, Link, LinkAt, Path, Source, SourceAt};

/// Each call that is about files, with what of its arguments names them.
const FILES: &[(&str, &[Named])] = &[
    ("access", &[Path(0)]),
    ("acct", &[Path(0)]),
    ("chdir", &[Path(0)]),
    ("chmod", &[Path(0)]),
    ("chown", &[Path(0)]),
    ("chroot", &[Path(0)]),
    ("close", &[Descriptor(0)]),
    ("copy_file_range", &[Source(0), Destination(2)]),
    ("creat", &[Path(0)]),
    ("dup", &[Descriptor(0)]),
    ("dup2", &[Descriptor(0)]),
    ("dup3", &[Descriptor(0)]),
    ("execve", &[Path(0)]),
    ("execveat", &[At(0, 1)]),
    ("faccessat", &[At(0, 1)]),
    ("faccessat2", &[At(0, 1)]),
    ("fadvise64", &[Descriptor(0)]),
    ("fallocate", &[Descriptor(0)]),
    ("fchdir", &[Descriptor(0)]),
    ("fchmod", &[Descriptor(0)]),
    ("fchmodat", &[At(0, 1)]),
    ("fchmodat2", &[At(0, 1)]),
    ("fchown", &[Descriptor(0)]),
    ("fchownat", &[At(0, 1)]),
    ("fcntl", &[Descriptor(0)]),
    ("fdatasync", &[Descriptor(0)]),
    ("fgetxattr", &[Descriptor(0)]),
    ("flistxattr", &[Descriptor(0)]),
    ("flock", &[Descriptor(0)]),
    ("fremovexattr", &[Descriptor(0)]),
    ("fsetxattr", &[Descriptor(0)]),
    ("fstat", &[Descriptor(0)]),
    ("fstatfs", &[Descriptor(0)]),
    ("fsync", &[Descriptor(0)]),
    ("ftruncate", &[Descriptor(0)]),
    ("futimesat", &[At(0, 1)]),
    ("getdents", &[Descriptor(0)]),
    ("getdents64", &[Descriptor(0)]),
    ("getxattr", &[Path(0)]),
    ("inotify_add_watch", &[Path(1)]),
    ("ioctl", &[Descriptor(0)]),
    ("lchown", &[Link(0)]),
    ("lgetxattr", &[Link(0)]),
    ("link", &[Link(0), Link(1)]),
    ("linkat", &[LinkAt(0, 1), LinkAt(2, 3)]),
    ("listxattr", &[Path(0)]),
    ("llistxattr", &[Link(0)]),
    ("lremovexattr", &[Link(0)]),
    ("lseek", &[Descriptor(0)]),
    ("lsetxattr", &[Link(0)]),
    ("lstat", &[Link(0)]),
    ("mkdir", &[Link(0)]),
    ("mkdirat", &[LinkAt(0, 1)]),
    ("mknod", &[Link(0)]),
    ("mknodat", &[LinkAt(0, 1)]),
    ("mmap", &[Descriptor(4)]),
    ("mount", &[Path(1)]),
    ("name_to_handle_at", &[At(0, 1)]),
    ("newfstatat", &[At(0, 1)]),
    ("open", &[Path(0)]),
    ("openat", &[At(0, 1)]),
    ("openat2", &[At(0, 1)]),
    ("pread64", &[Descriptor(0)]),
    ("preadv", &[Descriptor(0)]),
    ("preadv2", &[Descriptor(0)]),
    ("pwrite64", &[Descriptor(0)]),
    ("pwritev", &[Descriptor(0)]),
    ("pwritev2", &[Descriptor(0)]),
    ("read", &[Descriptor(0)]),
    ("readahead", &[Descriptor(0)]),
    ("readlink", &[Link(0)]),
    ("readlinkat", &[LinkAt(0, 1)]),
    ("readv", &[Descriptor(0)]),
    ("removexattr", &[Path(0)]),
    ("rename", &[Link(0), Link(1)]),
    ("renameat", &[LinkAt(0, 1), LinkAt(2, 3)]),
    ("renameat2", &[LinkAt(0, 1), LinkAt(2, 3)]),
    ("rmdir", &[Link(0)]),
    ("sendfile", &[Destination(0), Source(1)]),
    ("setxattr", &[Path(0)]),
    ("splice", &[Source(0), Destination(2)]),
    ("stat", &[Path(0)]),
    ("statfs", &[Path(0)]),
    ("statx", &[At(0, 1)]),
    ("swapoff", &[Path(0)]),
    ("swapon", &[Path(0)]),
    ("symlink", &[Link(1)]),
    ("symlinkat", &[LinkAt(1, 2)]),
    ("sync_file_range", &[Descriptor(0)]),
    ("syncfs", &[Descriptor(0)]),
    ("truncate", &[Path(0)]),
    ("umount2", &[Path(0)]),
    ("unlink", &[Link(0)]),
    ("unlinkat", &[LinkAt(0, 1)]),
    ("utime", &[Path(0)]),
    ("utimensat", &[At(0, 1)]),
    ("utimes", &[Path(0)]),
    ("write", &[Descriptor(0)]),
    ("writev", &[Descriptor(0)]),
];

/// Whether the call is about the file behind its first argument and no other one.
pub fn is_by_descriptor(call: &str) -> bool {
    matches!(files(call), [Descriptor(0)])
}

/// What names files in the arguments of a call; empty for one that is not about files.
pub fn files(call: &str) -> &'static [Named] {
    FILES.binary_search_by_key(&call, |(name, _)| *name).map_or(&[], |index| FILES[index].1)
}

/// The same for an `ioctl` with this command: those that clone name two files.
pub fn files_of_ioctl(command: u32) -> &'static [Named] {
    match command {
        FICLONE => &[Destination(0), Source(2)],
        FICLONERANGE => &[Destination(0), SourceAt(2)],
        _ => files("ioctl"),
    }
}

impl Named {
    /// Which end of a call that copies this is.
    pub fn end(self) -> Option<End> {
        match self {
            Source(_) | SourceAt(_) => Some(End::Source),
            Destination(_) => Some(End::Destination),
            Descriptor(_) | Path(_) | Link(_) | At(..) | LinkAt(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi;

    #[test]
    fn the_table_is_sorted_and_of_real_calls() {
        assert!(FILES.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, named) in FILES {
            assert!(abi::native(name).is_some() && !named.is_empty(), "{name}");
        }
        assert_eq!(files("openat"), [At(0, 1)]);
        assert!(files("getpid").is_empty());
        assert!(is_by_descriptor("fsync") && !is_by_descriptor("mmap"));
        assert!(!is_by_descriptor("splice") && !is_by_descriptor("getpid"));
        assert_eq!(files_of_ioctl(0x5401), [Descriptor(0)]);
        assert_eq!(files_of_ioctl(FICLONERANGE), [Destination(0), SourceAt(2)]);
    }

    #[test]
    fn what_copies_says_which_file_is_which() {
        let ends = |named: &[Named]| named.iter().map(|named| named.end()).collect::<Vec<_>>();
        let (from, to) = (Some(End::Source), Some(End::Destination));
        assert_eq!(ends(files("copy_file_range")), [from, to]);
        assert_eq!(ends(files("sendfile")), [to, from]);
        assert_eq!(ends(files_of_ioctl(FICLONE)), [to, from]);
        assert_eq!(ends(files("renameat")), [None, None]);
    }
}
