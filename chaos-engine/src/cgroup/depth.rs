//! How deep a cgroup lies when only a part of the hierarchy is mounted, as on a Kubernetes node
//! that is itself a container.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::{libc, sys::stat::fstat};

use super::tree::{self, Step};

/// `FILEID_KERNFS` of include/linux/exportfs.h: the handle is the node's 64-bit id.
const FILEID_KERNFS: i32 = 0xfe;
/// Id of the root node of every kernfs hierarchy, hence of the root cgroup.
const ROOT_ID: u64 = 1;

/// A `struct file_handle` with the eight bytes that a kernfs node needs.
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

/// The level of the open cgroup `directory`; `None` where the kernel does not let us look
/// (open_by_handle_at(2) wants CAP_DAC_READ_SEARCH).
pub(super) fn below_hierarchy_root(directory: &OwnedFd) -> Option<u32> {
    let wanted = fstat(directory).ok()?.st_ino;
    let root = open_root(directory)?;
    let mut level = None;
    tree::walk(&root, &mut |path, cgroup| {
        if fstat(cgroup).is_ok_and(|stat| stat.st_ino == wanted) {
            level = u32::try_from(path.iter().count()).ok();
        }
        if level.is_some() { Step::Skip } else { Step::Descend }
    })
    .ok()?;
    level
}

fn open_root(any_cgroup: impl AsFd) -> Option<OwnedFd> {
    let mut handle = KernfsHandle { bytes: 8, kind: FILEID_KERNFS, id: ROOT_ID.to_ne_bytes() };
    // SAFETY: the handle is a file_handle with `bytes` bytes behind its header, and outlives
    // the call, which only reads it.
    let fd = unsafe {
        libc::open_by_handle_at(
            any_cgroup.as_fd().as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    // SAFETY: a non-negative result is a new descriptor that nobody else owns.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}
