//! Resolves paths as a process sees them: from its root, through its links.
//!
//! Any of this may take for ever, as the files can be on a file system that the process itself serves.
//! So only threads that may be lost ask here.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlink, readlinkat},
    sys::stat::Mode,
};

/// Symbolic links that are followed for one path, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;
/// What procfs adds to the name of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// The files that a process, or a thread of it, sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its directory in procfs.
    process: PathBuf,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The path without links, as far as it exists, and what is left of it.
    pub real: Vec<u8>,
    /// Whether all of it exists.
    pub exists: bool,
}

/// What two processes have in common that see the same files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewKey {
    mounts: OsString,
    root: OsString,
}

impl View {
    /// Of the process, or thread, with this id in our pid namespace.
    pub fn of(id: i32) -> Self {
        Self { process: PathBuf::from(format!("/proc/{id}")) }
    }

    /// Our own.
    pub fn own() -> Self {
        Self { process: PathBuf::from("/proc/self") }
    }

    /// `None` for a process that has ended.
    pub fn key(&self) -> Option<ViewKey> {
        let mounts = readlink(&self.proc("ns/mnt")).ok()?;
        Some(ViewKey { mounts, root: readlink(&self.proc("root")).ok()? })
    }

    /// Where an absolute path leads; `None` where its root cannot be looked at.
    pub fn find(&self, path: &[u8]) -> Option<Whereabouts> {
        let path = Path::new(OsStr::from_bytes(path));
        let root = self.root()?;
        let exists = open_in(&root, path, true).is_ok();
        let real = path.ancestors().find_map(|above| {
            let rest = path.strip_prefix(above).ok()?;
            Some(join(&self.resolve(above.to_owned(), true)?, rest.as_os_str().as_bytes()))
        })?;
        Some(Whereabouts { real: real.into_os_string().into_vec(), exists })
    }

    /// A path with its symbolic links resolved as far as it exists; the last one only if
    /// `follow`.
    pub fn real(&self, path: PathBuf, follow: bool) -> Vec<u8> {
        let plain = lexical(&path);
        self.resolve(path, follow).unwrap_or(plain)
    }

    fn resolve(&self, mut path: PathBuf, follow: bool) -> Option<Vec<u8>> {
        let root = self.root()?;
        for _ in 0..MOST_LINKS {
            path = self.without_magic(path);
            match open_in(&root, &path, follow) {
                Ok(file) => return self.seen(&own_name(&file)?),
                // It does not exist, or is a link to what does not.
                Err(Errno::ENOENT) => {}
                Err(_) => return None,
            }
            let parent = open_in(&root, path.parent()?, true).ok()?;
            let last = path.file_name()?;
            let above = self.seen(&own_name(&parent)?)?;
            match readlinkat(&parent, last) {
                Ok(target) if follow => path = join(&above, target.as_bytes()),
                _ => return Some(join(&above, last.as_bytes()).into_os_string().into_vec()),
            }
        }
        None
    }

    fn root(&self) -> Option<OwnedFd> {
        // Not opened for reading, which a file system could be asked about.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&self.proc("root"), flags, Mode::empty()).ok()
    }

    /// The links of procfs that mean something else to each process.
    fn without_magic(&self, path: PathBuf) -> PathBuf {
        let own = [
            ("/dev/fd", "fd"),
            ("/dev/stdin", "fd/0"),
            ("/dev/stdout", "fd/1"),
            ("/dev/stderr", "fd/2"),
            ("/proc/self", ""),
            ("/proc/thread-self", ""),
        ];
        let mut path = own
            .iter()
            .find_map(|(link, to)| Some(self.process.join(to).join(path.strip_prefix(link).ok()?)))
            .unwrap_or(path);
        let link = |path: &Path| -> Option<PathBuf> {
            let rest = path.strip_prefix(&self.process).ok()?;
            let mut parts = rest.components().map(Component::as_os_str);
            let first = parts.next()?.to_str()?;
            let (name, rest) = match first {
                "cwd" | "root" | "exe" => (first.to_owned(), parts.collect::<PathBuf>()),
                "fd" => (format!("fd/{}", parts.next()?.to_str()?), parts.collect::<PathBuf>()),
                _ => return None,
            };
            let target = self.seen(&readlink(&self.proc(&name)).ok()?)?;
            Some(join(&target, rest.as_os_str().as_bytes()))
        };
        if let Some(target) = link(&path) {
            path = target;
        }
        path
    }

    /// What a link of the process in procfs leads to, such as `cwd` or `fd/3`, below its root.
    pub fn link(&self, name: &str) -> Option<Vec<u8>> {
        self.seen(&readlink(&self.proc(name)).ok()?)
    }

    /// A path of procfs as the process sees it: below its root.
    fn seen(&self, path: &OsString) -> Option<Vec<u8>> {
        let path = path.as_bytes();
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        if path.first() != Some(&b'/') {
            return None;
        }
        let root = readlink(&self.proc("root")).ok()?;
        match root.as_bytes() {
            b"/" => Some(path.to_vec()),
            root => match path.strip_prefix(root)? {
                [] => Some(b"/".to_vec()),
                below @ [b'/', ..] => Some(below.to_vec()),
                _ => None,
            },
        }
    }

    fn proc(&self, name: &str) -> PathBuf {
        self.process.join(name)
    }
}

/// A path from a directory on.
pub fn join(base: &[u8], path: &[u8]) -> PathBuf {
    let base = PathBuf::from(OsString::from_vec(base.to_vec()));
    if path.is_empty() { base } else { base.join(OsStr::from_bytes(path)) }
}

/// Looks a path up as somebody whose root this is (openat2(2), kernel 5.6).
fn open_in(root: &OwnedFd, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    flags.set(OFlag::O_NOFOLLOW, !follow);
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    openat2(root.as_fd(), path, how)
}

fn own_name(file: &OwnedFd) -> Option<OsString> {
    // Of the thread: who looks up has descriptors of its own.
    readlink(&PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))).ok()
}

/// `.` and `..` taken out, without looking at any file.
fn lexical(path: &Path) -> Vec<u8> {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    plain.into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_path_leads_where_its_links_lead_as_far_as_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let at = |name: &str| root.join(name).into_os_string().into_string().unwrap();
        fs::create_dir_all(at("real/below")).unwrap();
        for (link, target) in
            [("link", "real"), ("twice", "link"), ("nowhere", "none"), ("up", "..")]
        {
            symlink(target, at(link)).unwrap();
        }
        symlink("round", at("round")).unwrap();
        for (path, real, exists) in [
            ("real", "real", true),
            ("link", "real", true),
            ("link/", "real", true),
            ("twice/below", "real/below", true),
            ("link/a/b/c", "real/a/b/c", false),
            ("nowhere", "none", false),
            ("nowhere/a", "none/a", false),
            ("none", "none", false),
            ("round", "round", false),
            ("round/a", "round/a", false),
        ] {
            let found = View::own().find(at(path).as_bytes()).unwrap();
            let text = String::from_utf8(found.real).unwrap();
            assert_eq!((text.trim_end_matches('/'), found.exists), (&*at(real), exists), "{path}");
        }
        assert_eq!(View::own().find(b"/").unwrap().real, b"/");
    }

    #[test]
    fn who_sees_the_same_has_the_same_key() {
        let this = View::of(nix::unistd::getpid().as_raw());
        assert!(this.key().is_some());
        assert_eq!(this.key(), View::own().key());
        assert_eq!(View::of(i32::MAX).key(), None);
    }
}
