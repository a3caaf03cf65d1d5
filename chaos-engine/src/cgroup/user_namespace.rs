//! Whose a network namespace is: how deep the user namespace lies that owns it.
//! <https://man7.org/linux/man-pages/man2/ioctl_ns.2.html>

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::{errno::Errno, ioctl_none_bad, libc, request_code_none};

/// User namespaces are nested no deeper (user_namespaces(7)).
const DEEPEST: u32 = 32;

ioctl_none_bad!(
    /// Opens the user namespace that owns a namespace.
    ns_get_userns,
    request_code_none!(0xb7, 1)
);
ioctl_none_bad!(
    /// Opens the parent of a user namespace.
    ns_get_parent,
    request_code_none!(0xb7, 2)
);

/// How many user namespaces lie around the one that owns this namespace, as far as this process may
/// know: 0 for what belongs to the machine itself. Whoever has no rights makes namespaces of their own
/// in a user namespace of their own, which lies deeper than theirs.
pub(super) fn depth(namespace: BorrowedFd<'_>) -> u32 {
    let Ok(mut user) = open(namespace, ns_get_userns) else {
        return 0;
    };
    for depth in 0..DEEPEST {
        match open(user.as_fd(), ns_get_parent) {
            Ok(parent) => user = parent,
            // It is this process's own, or further out.
            Err(_) => return depth,
        }
    }
    DEEPEST
}

fn open(
    of: BorrowedFd<'_>,
    call: unsafe fn(libc::c_int) -> nix::Result<libc::c_int>,
) -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptor is open, the call takes nothing else, and the kernel makes the descriptor
    // that it returns for us alone.
    unsafe { call(of.as_raw_fd()).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn own_namespaces_are_outermost() {
        let own = File::open("/proc/self/ns/net").unwrap();
        assert_eq!(depth(own.as_fd()), 0);
    }
}
