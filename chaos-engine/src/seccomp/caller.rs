//! Who makes a call, and which files it names, as the caller sees them: its memory, its working
//! directory, its root.
//!
//! All of this may take for ever: the memory can be userfaultfd's, the files can be on a file system
//! that the caller itself serves. So only threads that may be lost ask here ([`super::lookup`]).
//!
//! Another thread of the caller may change the memory after it was read here and before the kernel
//! reads it: docs/limitations.md.

use chaos_ebpf_common::tables::IOCTL;
use chaos_plan::End;
use nix::libc::{AT_FDCWD, PATH_MAX, seccomp_data};

use super::{
    abi::{ARCH_I386, name, native_of},
    arguments::{Named, files, files_of_ioctl},
    memory,
};
use crate::cgroup::{View, join};

/// Of i386's first mmap, whose one argument is the address of the others.
const OLD_MMAP: i32 = 90;
const PAGE: usize = 4096;

/// A file that a call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Its real path below the caller's root.
    pub path: Vec<u8>,
    /// Which one it is for a call that copies.
    pub end: Option<End>,
}

/// The calling thread.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    thread: i32,
}

impl Caller {
    /// `thread` is an id in our pid namespace; `None` where the caller has none there.
    pub fn new(thread: i32) -> Option<Self> {
        (thread > 0).then_some(Self { thread })
    }

    /// The files that a call names.
    pub fn files(&self, data: &seccomp_data) -> Vec<NamedFile> {
        let called = u32::try_from(data.nr).unwrap_or_default();
        let number = native_of(data.arch, called, data.args[0]);
        let arguments = self.arguments(data);
        let named = match number {
            Some(number) if number == u32::from(IOCTL) => files_of_ioctl(arguments[1] as u32),
            number => files(number.and_then(name).unwrap_or_default()),
        };
        let file = |named: &Named| {
            Some(NamedFile { path: self.file(*named, &arguments)?, end: named.end() })
        };
        named.iter().filter_map(file).collect()
    }

    /// The files that it sees.
    pub fn view(&self) -> View {
        View::of(self.thread)
    }

    fn arguments(&self, data: &seccomp_data) -> [u64; 6] {
        let mut arguments = data.args;
        if data.arch == ARCH_I386 && data.nr == OLD_MMAP {
            let mut words = [0u8; 24];
            if self.read(data.args[0] as usize, &mut words) == Some(words.len()) {
                for (argument, word) in arguments.iter_mut().zip(words.as_chunks::<4>().0) {
                    *argument = u64::from(u32::from_ne_bytes(*word));
                }
            }
        }
        arguments
    }

    fn file(&self, named: Named, arguments: &[u64; 6]) -> Option<Vec<u8>> {
        match named {
            Named::Descriptor(index) | Named::Source(index) | Named::Destination(index) => {
                self.descriptor(arguments[index] as i32)
            }
            Named::SourceAt(index) => {
                let mut descriptor = [0; 8];
                let read = self.read(arguments[index] as usize, &mut descriptor)?;
                // A descriptor has 31 bits; the kernel refuses a wider number.
                let descriptor = i32::try_from(i64::from_ne_bytes(descriptor)).ok()?;
                (read == size_of::<i64>()).then(|| self.descriptor(descriptor))?
            }
            Named::Path(path) => self.at(AT_FDCWD, arguments[path], true),
            Named::Link(path) => self.at(AT_FDCWD, arguments[path], false),
            Named::At(directory, path) => {
                self.at(arguments[directory] as i32, arguments[path], true)
            }
            Named::LinkAt(directory, path) => {
                self.at(arguments[directory] as i32, arguments[path], false)
            }
        }
    }

    /// The file behind one of the caller's descriptors; none for a socket or a pipe.
    fn descriptor(&self, descriptor: i32) -> Option<Vec<u8>> {
        if descriptor < 0 {
            return None;
        }
        self.view().link(&format!("fd/{descriptor}"))
    }

    fn at(&self, directory: i32, address: u64, follow: bool) -> Option<Vec<u8>> {
        let path = if address == 0 { Vec::new() } else { self.string(address as usize)? };
        if path.is_empty() {
            // AT_EMPTY_PATH, or utimensat of a descriptor.
            return self.descriptor(directory);
        }
        let base = if path[0] == b'/' {
            b"/".to_vec()
        } else if directory == AT_FDCWD {
            self.view().link("cwd")?
        } else {
            self.descriptor(directory)?
        };
        Some(self.view().real(join(&base, &path), follow))
    }

    /// A string in the caller's memory.
    fn string(&self, address: usize) -> Option<Vec<u8>> {
        let mut string = Vec::new();
        while string.len() < PATH_MAX as usize {
            let at = address.checked_add(string.len())?;
            // To the end of the page only: the next one may not be there.
            let mut chunk = vec![0; PAGE - at % PAGE];
            let read = self.read(at, &mut chunk)?;
            match chunk[..read].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    string.extend(&chunk[..end]);
                    return Some(string);
                }
                None if read == chunk.len() => string.extend(chunk),
                None => return None,
            }
        }
        None
    }

    fn read(&self, address: usize, into: &mut [u8]) -> Option<usize> {
        memory::read(self.thread, address, into).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        ffi::CString,
        fs::{self, File},
        os::{fd::AsRawFd, unix::fs::symlink},
    };

    use nix::libc::c_int;

    use super::*;
    use crate::seccomp::abi::{ARCH_X86_64, native};

    /// A call of this very thread.
    fn files(call: &str, args: [u64; 6]) -> Vec<String> {
        let nr = native(call).unwrap() as c_int;
        let data = seccomp_data { nr, arch: ARCH_X86_64, instruction_pointer: 0, args };
        let caller = Caller::new(nix::unistd::gettid().as_raw()).unwrap();
        let files = caller.files(&data);
        files.into_iter().map(|file| String::from_utf8(file.path).unwrap()).collect()
    }

    fn open(path: &str) -> Vec<String> {
        let path = CString::new(path).unwrap();
        files("openat", [AT_FDCWD as u64, path.as_ptr() as u64, 0, 0, 0, 0])
    }

    #[test]
    fn paths_are_real_ones() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        let real = real.to_str().unwrap();
        fs::create_dir(format!("{real}/data")).unwrap();
        fs::write(format!("{real}/data/file"), "x").unwrap();
        symlink("data", format!("{real}/link")).unwrap();
        symlink("data/new", format!("{real}/dangling")).unwrap();
        let file = [format!("{real}/data/file")];
        for path in ["data/file", "link/file", "data/../link/./file", "/link/file"] {
            assert_eq!(open(&format!("{real}/{path}")), file, "{path}");
        }
        assert_eq!(open(&format!("{real}/dangling")), [format!("{real}/data/new")]);
        assert_eq!(open(&format!("{real}/data/none")), [format!("{real}/data/none")]);
        assert_eq!(open(&format!("{real}/no/../a")), [format!("{real}/a")]);
        let link = CString::new(format!("{real}/link")).unwrap();
        let new = CString::new(format!("{real}/other")).unwrap();
        let renamed = files("rename", [link.as_ptr() as u64, new.as_ptr() as u64, 0, 0, 0, 0]);
        assert_eq!(renamed, [format!("{real}/link"), format!("{real}/other")]);
    }

    #[test]
    fn descriptors_lead_to_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        let path = real.join("file");
        let file = File::create(&path).unwrap();
        let descriptor = file.as_raw_fd();
        let expected = [path.to_str().unwrap().to_owned()];
        assert_eq!(files("fsync", [descriptor as u64, 0, 0, 0, 0, 0]), expected);
        assert_eq!(files("mmap", [0, 0, 0, 0, descriptor as u64, 0]), expected);
        assert_eq!(open(&format!("/proc/self/fd/{descriptor}")), expected);
        assert_eq!(open(&format!("/dev/fd/{descriptor}")), expected);
        let empty = c"".as_ptr() as u64;
        assert_eq!(files("newfstatat", [descriptor as u64, empty, 0, 0, 0, 0]), expected);
        let below = CString::new("file").unwrap();
        let parent = File::open(&real).unwrap();
        let args = [parent.as_raw_fd() as u64, below.as_ptr() as u64, 0, 0, 0, 0];
        assert_eq!(files("openat", args), expected);
        fs::remove_file(&path).unwrap();
        assert_eq!(files("write", [descriptor as u64, 0, 0, 0, 0, 0]), expected);
        assert!(files("mmap", [0, 0, 0, 0, u64::MAX, 0]).is_empty());
        assert!(files("getpid", [0; 6]).is_empty());
    }

    #[test]
    fn relative_paths_begin_at_the_working_directory() {
        let here = env::current_dir().unwrap();
        assert_eq!(open("Cargo.toml"), [here.join("Cargo.toml").to_str().unwrap()]);
        let unreadable = files("openat", [AT_FDCWD as u64, 8, 0, 0, 0, 0]);
        assert!(unreadable.is_empty());
    }
}
