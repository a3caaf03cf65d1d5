//! Reading a directory tree through open directories, so that a path that changes meanwhile
//! cannot lead elsewhere.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};

/// A container may nest cgroups as deep as it likes; what lies more levels than this below the
/// place where a search begins is not seen, so that it cannot exhaust the agent's descriptors
/// (two a level).
const MAX_DEPTH: usize = 128;

/// What a visitor wants done with the directory that it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Descend,
    Skip,
}

/// Opens a directory below `at`; never through a symbolic link, `..` or another mount.
/// Needs openat2(2), Linux 5.6.
pub(super) fn open_below(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how =
        OpenHow::new().flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(at, path, how)
}

/// The text of a file in the directory `at`.
pub(super) fn read_file(at: impl AsFd, name: &str) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = nix::fcntl::openat(at, name, flags, Mode::empty())?;
    io::read_to_string(std::fs::File::from(file))
}

/// Calls `visit` with each directory below `at` (not `at` itself), parents first, up to
/// [`MAX_DEPTH`] levels. Directories that vanish meanwhile are passed over.
pub(super) fn walk(
    at: impl AsFd,
    visit: &mut dyn FnMut(&Path, &OwnedFd) -> Step,
) -> Result<(), Errno> {
    descend(at, MAX_DEPTH, &mut PathBuf::new(), visit)
}

fn descend(
    at: impl AsFd,
    depth: usize,
    path: &mut PathBuf,
    visit: &mut dyn FnMut(&Path, &OwnedFd) -> Step,
) -> Result<(), Errno> {
    if depth == 0 {
        return Ok(());
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(at.as_fd(), ".", flags, Mode::empty())?;
    for entry in listing.iter() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) if vanished(errno) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type() != Some(Type::Directory) || name == "." || name == ".." {
            continue;
        }
        let child = match open_below(at.as_fd(), Path::new(name)) {
            Ok(child) => child,
            Err(errno) if vanished(errno) => continue,
            Err(errno) => return Err(errno),
        };
        path.push(name);
        if visit(path, &child) == Step::Descend {
            match descend(&child, depth - 1, path, visit) {
                Err(errno) if !vanished(errno) => return Err(errno),
                _ => {}
            }
        }
        path.pop();
    }
    Ok(())
}

/// Shows `visit` the names of the directories in `at`.
pub(super) fn children(at: impl AsFd, visit: &mut dyn FnMut(&OsStr)) -> Result<(), Errno> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(at, ".", flags, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type() == Some(Type::Directory) && name != "." && name != ".." {
            visit(name);
        }
    }
    Ok(())
}

/// `ENODEV` is what reading a file of a removed cgroup gives.
pub(super) fn vanished(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV | Errno::ESRCH)
}
