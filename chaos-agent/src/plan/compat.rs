//! The calls of 32-bit programs by the numbers of x86-64.

use chaos_ebpf_common::tables::{COMPAT, NO_CALL, NUMBERS};
use syscalls::x86;

use super::family::number;

/// Calls that 32-bit programs have under another name.
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_32.tbl>
const RENAMED: [(&str, &str); 13] = [
    ("_llseek", "lseek"),
    ("clock_nanosleep_time64", "clock_nanosleep"),
    ("fcntl64", "fcntl"),
    ("fstat64", "fstat"),
    ("fstatat64", "newfstatat"),
    ("ftruncate64", "ftruncate"),
    ("lstat64", "lstat"),
    ("mmap2", "mmap"),
    ("ppoll_time64", "ppoll"),
    ("sendfile64", "sendfile"),
    ("stat64", "stat"),
    ("truncate64", "truncate"),
    ("utimensat_time64", "utimensat"),
];

/// The calls behind `socketcall(2)`, from 1 on (`include/uapi/linux/net.h`).
pub const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "sendto",
    "recvfrom",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// For each number of a 32-bit caller that of x86-64, and from [`NUMBERS`] on for each call behind
/// `socketcall`; [`NO_CALL`] where x86-64 has none.
pub fn compat_numbers() -> [u16; COMPAT] {
    let mut numbers = [NO_CALL; COMPAT];
    for call in x86::Sysno::iter() {
        let name = call.name();
        let name = RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, name)| *name);
        if let Some(place) =
            numbers.get_mut(call.id() as usize).filter(|_| call.id() < i32::from(NUMBERS))
            && let Some(number) = number(name)
        {
            *place = number;
        }
    }
    for (place, name) in numbers[usize::from(NUMBERS) + 1..].iter_mut().zip(SOCKETCALLS) {
        *place = number(name).unwrap_or(NO_CALL);
    }
    numbers
}

/// Whether 32-bit programs may make the call by `socketcall`.
pub(super) fn call_behind_socketcall(call: &str) -> bool {
    SOCKETCALLS.contains(&call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_architectures() {
        let numbers = compat_numbers();
        // i386: exit 1, read 3, socketcall 102, pread64 180, mmap2 192, openat 295.
        let known = [1, 3, 180, 192, 295].map(|at| numbers[at]);
        assert_eq!(known, [60, 0, 17, 9, 257]);
        assert_eq!(numbers[102], NO_CALL);
        assert_eq!((numbers[512], numbers[512 + 1], numbers[512 + 18]), (NO_CALL, 41, 288));
        assert!(numbers.iter().all(|number| *number < NUMBERS || *number == NO_CALL));
    }
}
