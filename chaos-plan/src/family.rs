//! Which system calls of the machine a name stands for, and for which of their files.

use chaos_fault::Call;
use serde::Serialize;
use syscalls::x86_64::Sysno;

/// The plain name of a C function stands for every call that libraries make of it; any other name
/// stands for itself alone.
const FAMILIES: [(&str, &[&str]); 31] = [
    ("accept", &["accept", "accept4"]),
    ("access", &["access", "faccessat", "faccessat2"]),
    ("chmod", &["chmod", "fchmodat", "fchmodat2"]),
    ("chown", &["chown", "lchown", "fchownat"]),
    ("dup", &["dup", "dup2", "dup3"]),
    ("epoll_create", &["epoll_create", "epoll_create1"]),
    ("epoll_wait", &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    ("eventfd", &["eventfd", "eventfd2"]),
    ("execve", &["execve", "execveat"]),
    ("fork", &["fork", "vfork", "clone", "clone3"]),
    ("fsync", &["fsync", "fdatasync"]),
    ("getdents", &["getdents", "getdents64"]),
    ("inotify_init", &["inotify_init", "inotify_init1"]),
    ("link", &["link", "linkat"]),
    ("mkdir", &["mkdir", "mkdirat"]),
    ("mknod", &["mknod", "mknodat"]),
    ("nanosleep", &["nanosleep", "clock_nanosleep"]),
    ("open", &["open", "openat", "openat2", "creat"]),
    ("pipe", &["pipe", "pipe2"]),
    ("poll", &["poll", "ppoll"]),
    (
        "read",
        &[
            "read",
            "pread64",
            "readv",
            "preadv",
            "preadv2",
            "copy_file_range",
            "sendfile",
            "splice",
            "ioctl",
        ],
    ),
    ("readlink", &["readlink", "readlinkat"]),
    ("rename", &["rename", "renameat", "renameat2"]),
    ("select", &["select", "pselect6"]),
    ("signalfd", &["signalfd", "signalfd4"]),
    ("stat", &["stat", "lstat", "fstat", "newfstatat", "statx"]),
    ("symlink", &["symlink", "symlinkat"]),
    ("sync", &["sync", "syncfs"]),
    ("unlink", &["unlink", "unlinkat"]),
    ("utime", &["utime", "utimes", "utimensat", "futimesat"]),
    (
        "write",
        &[
            "write",
            "pwrite64",
            "writev",
            "pwritev",
            "pwritev2",
            "fallocate",
            "copy_file_range",
            "sendfile",
            "splice",
            "ioctl",
        ],
    ),
];

/// What takes bytes out of a file and puts them into another: `ioctl` by the commands that clone.
const COPYING: [&str; 4] = ["copy_file_range", "sendfile", "splice", "ioctl"];

/// One of the two files of a call that copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// That bytes are taken out of.
    Source,
    /// That they are put into.
    Destination,
}

/// A call of the machine: its name and x86-64 number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) number: u16,
    /// Where it is meant by one of its two files only, and for copying alone.
    pub(super) end: Option<End>,
}

impl Member {
    /// The call as people write it.
    pub(super) fn title(&self) -> &'static str {
        title(self.name, self.end)
    }
}

/// A call as people write it, meant for this end of it.
pub(super) fn title(name: &'static str, end: Option<End>) -> &'static str {
    if end.is_some() && name == "ioctl" { "ioctl(FICLONE)" } else { name }
}

/// The calls that `call` stands for; empty where x86-64 has none of that name.
pub(super) fn members(call: &Call) -> Vec<Member> {
    let named = [call.name()];
    let names: &[&str] = FAMILIES
        .iter()
        .find(|(family, _)| *family == call.name())
        .map_or(&named, |(_, members)| *members);
    let end = |name: &str| {
        match call.name() {
            "read" => Some(End::Source),
            "write" => Some(End::Destination),
            _ => None,
        }
        .filter(|_| COPYING.contains(&name))
    };
    names.iter().filter_map(|name| Some(Member { end: end(name), ..member(name)? })).collect()
}

/// Whether the call, named by itself, takes bytes out of a file and puts them into another whatever
/// its arguments are.
pub(super) fn is_copying(call: &Call) -> bool {
    COPYING.contains(&call.name()) && call.name() != "ioctl"
}

/// What a call's plain name stands for beyond the call itself, for a family that it belongs to
/// without being its plain name: `open` for `openat`. What copies belongs to two.
pub(super) fn plain_name(call: &Call) -> Option<&'static str> {
    let is_plain = FAMILIES.iter().any(|(family, _)| *family == call.name());
    let of = |(_, members): &&(&str, &[&str])| members.contains(&call.name());
    let is_alone = is_plain || COPYING.contains(&call.name());
    FAMILIES.iter().find(of).filter(|_| !is_alone).map(|(family, _)| *family)
}

/// The x86-64 number of the call of this name.
pub(super) fn number(name: &str) -> Option<u16> {
    member(name).map(|member| member.number)
}

fn member(name: &str) -> Option<Member> {
    let call: Sysno = name.parse().ok()?;
    Some(Member { name: call.name(), number: u16::try_from(call.id()).ok()?, end: None })
}

#[cfg(test)]
mod tests {
    use chaos_ebpf_common::tables::{self, CALLS, FICLONE};

    use super::*;

    fn names(call: &str) -> Vec<(&'static str, u16)> {
        let call = Call::from_name(call).unwrap();
        members(&call).into_iter().map(|member| (member.name, member.number)).collect()
    }

    #[test]
    fn a_plain_name_stands_for_its_family() {
        assert_eq!(names("open"), [("open", 2), ("openat", 257), ("openat2", 437), ("creat", 85)]);
        assert_eq!(names("openat"), [("openat", 257)]);
        assert_eq!(names("fsync"), [("fsync", 74), ("fdatasync", 75)]);
        assert_eq!(names("mmap"), [("mmap", 9)]);
        assert_eq!(names("recv"), [("recvfrom", 45)]);
    }

    #[test]
    fn what_copies_is_read_by_its_source_and_written_by_its_destination() {
        let ends = |call: &str| {
            let members = members(&Call::from_name(call).unwrap()).into_iter();
            members.filter_map(|member| Some((member.title(), member.end?))).collect::<Vec<_>>()
        };
        let all = ["copy_file_range", "sendfile", "splice", "ioctl(FICLONE)"];
        assert_eq!(ends("read"), all.map(|call| (call, End::Source)));
        assert_eq!(ends("write"), all.map(|call| (call, End::Destination)));
        for call in ["copy_file_range", "ioctl"] {
            assert_eq!(ends(call), []);
        }
        let numbers: Vec<u16> = names("write").into_iter().map(|(_, number)| number).collect();
        assert_eq!(numbers, [1, 18, 20, 296, 328, 285, 326, 40, 275, 16]);
        let copying = COPYING.map(|name| {
            let Member { number, .. } = member(name).unwrap();
            tables::by_command(number, FICLONE.into())
        });
        assert!(copying.into_iter().all(tables::is_copying));
    }

    #[test]
    fn every_member_is_a_call_of_the_machine_and_fits_the_table() {
        for (family, listed) in FAMILIES {
            assert!(listed.iter().all(|name| member(name).is_some()), "{family}");
        }
        assert!(Sysno::iter().all(|call| (call.id() as usize) < CALLS));
        assert!(FAMILIES.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn a_member_knows_its_family() {
        let of = |name| plain_name(&Call::from_name(name).unwrap());
        assert_eq!((of("openat"), of("open"), of("fsync")), (Some("open"), None, None));
        assert_eq!((of("mmap"), of("splice"), of("ioctl")), (None, None, None));
        assert_eq!(of("fallocate"), Some("write"));
    }
}
