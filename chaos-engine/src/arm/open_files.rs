//! Files that the processes of a target have open already when it is armed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    sync::Arc,
    vec,
};

use chaos_ebpf_common::event::FileId;

use super::turn::Turn;
use crate::cgroup::{Cgroup, TargetError};

/// What procfs adds to the name of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// A file, and its path as the process sees it that has it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub id: FileId,
    pub path: Vec<u8>,
}

/// Descriptors that are looked at in one search. What a target has open beyond them counts as opened elsewhere.
const MOST: usize = 65_536;

/// Bytes of a list of mounts that are read.
const MOST_OF_MOUNTS: u64 = 1 << 20;

/// A search through every process in the subtree, piece by piece, as a target may have very many files open. What is
/// closed meanwhile is passed over.
#[derive(Debug)]
pub(super) struct OpenFiles {
    processes: vec::IntoIter<i32>,
    current: Option<Process>,
    /// By mount namespace.
    devices: BTreeMap<PathBuf, Arc<Devices>>,
    left: usize,
}

/// The device of each mount by its id.
type Devices = BTreeMap<u64, u64>;

/// One process whose descriptors are looked at.
#[derive(Debug)]
struct Process {
    /// In procfs.
    directory: PathBuf,
    root: Vec<u8>,
    devices: Arc<Devices>,
    descriptors: fs::ReadDir,
}

impl OpenFiles {
    /// Begins a search.
    ///
    /// # Errors
    /// When not every process of the subtree can be seen.
    pub fn of(cgroup: &Cgroup) -> Result<Self, TargetError> {
        Ok(Self::of_processes(cgroup.processes()?))
    }

    fn of_processes(processes: Vec<i32>) -> Self {
        let processes = processes.into_iter();
        Self { processes, current: None, devices: BTreeMap::new(), left: MOST }
    }

    /// Goes on for a turn; whether there is more to look at.
    pub fn go_on<E>(
        &mut self,
        turn: Turn,
        mut found: impl FnMut(OpenFile) -> Result<(), E>,
    ) -> Result<bool, E> {
        loop {
            if !self.step(&mut found)? {
                return Ok(false);
            }
            if turn.is_over() {
                return Ok(true);
            }
        }
    }

    /// Looks at one descriptor, or begins with one process; whether there is more.
    fn step<E>(&mut self, found: &mut impl FnMut(OpenFile) -> Result<(), E>) -> Result<bool, E> {
        let Some(process) = &mut self.current else {
            let Some(pid) = self.processes.next() else { return Ok(false) };
            self.current = self.begin(PathBuf::from(format!("/proc/{pid}"))).ok();
            return Ok(true);
        };
        match process.descriptors.next() {
            Some(Ok(entry)) => {
                process.look(&entry.file_name()).map_or(Ok(()), found)?;
                self.left -= 1;
                Ok(self.left > 0)
            }
            Some(Err(_)) | None => {
                self.current = None;
                Ok(true)
            }
        }
    }

    fn begin(&mut self, directory: PathBuf) -> io::Result<Process> {
        let namespace = fs::read_link(directory.join("ns/mnt"))?;
        let devices = match self.devices.get(&namespace) {
            Some(devices) => devices.clone(),
            None => {
                let mut text = Vec::new();
                let file = File::open(directory.join("mountinfo"))?;
                file.take(MOST_OF_MOUNTS).read_to_end(&mut text)?;
                // What was cut off may be half a number.
                text.truncate(
                    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
                );
                let devices = Arc::new(devices(&String::from_utf8_lossy(&text)));
                self.devices.insert(namespace, devices.clone());
                devices
            }
        };
        let root = fs::read_link(directory.join("root"))?.into_os_string().into_vec();
        let descriptors = fs::read_dir(directory.join("fd"))?;
        Ok(Process { directory, root, devices, descriptors })
    }
}

impl Process {
    /// The file behind a descriptor.
    fn look(&self, name: &OsStr) -> Option<OpenFile> {
        // stat(2) is of no use: it tells the number that a file system shows, and overlayfs and
        // btrfs show others than those that the kernel goes by.
        let info = fs::read_to_string(self.directory.join("fdinfo").join(name)).ok()?;
        let link = fs::read_link(self.directory.join("fd").join(name)).ok()?;
        let path = seen(link.into_os_string().into_vec(), &self.root)?;
        Some(OpenFile { id: identify(&info, &self.devices)?, path })
    }
}

/// The device of each mount by its id, from proc_pid_mountinfo(5).
fn devices(mountinfo: &str) -> Devices {
    let device = |line: &str| {
        let mut fields = line.split(' ');
        let mount = fields.next()?.parse().ok()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some((mount, major.parse::<u64>().ok()? << 20 | minor.parse::<u64>().ok()?))
    };
    mountinfo.lines().filter_map(device).collect()
}

/// The file of proc_pid_fdinfo(5), whose `ino` (kernel 5.14) is the kernel's own number.
fn identify(info: &str, devices: &Devices) -> Option<FileId> {
    let field = |name: &str| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Some(FileId { device: *devices.get(&field("mnt_id:")?)?, inode: field("ino:")? })
}

/// A path of procfs below the root of the process; `None` for a pipe, a socket, or a file outside.
fn seen(path: Vec<u8>, root: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_suffix(DELETED).unwrap_or(&path);
    let below = if root == b"/" { path } else { path.strip_prefix(root)? };
    (below.first() == Some(&b'/')).then(|| below.to_vec())
}

#[cfg(test)]
mod tests {
    use std::{
        os::{fd::AsRawFd, unix::fs::MetadataExt},
        time::Duration,
    };

    use super::*;

    /// What is found of this process in so many pieces, at most.
    fn found(pieces: usize, length: Duration) -> (Vec<OpenFile>, bool) {
        let this = nix::unistd::getpid().as_raw();
        let mut search = OpenFiles::of_processes(vec![i32::MAX, this]);
        let (mut files, mut is_left) = (Vec::new(), true);
        for _ in 0..pieces {
            let found = |file| {
                files.push(file);
                Ok::<(), ()>(())
            };
            is_left = search.go_on(Turn::of(length), found).unwrap();
            if !is_left {
                break;
            }
        }
        (files, is_left)
    }

    #[test]
    fn a_file_of_this_process_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap().join("file");
        let file = File::create(&path).unwrap();
        let (files, is_left) = found(1, Duration::from_secs(60));
        let path = path.into_os_string().into_vec();
        let found = files.iter().find(|open| open.path == path);
        let found = found.unwrap_or_else(|| panic!("{} of {files:?}", file.as_raw_fd()));
        assert_eq!((found.id.inode, is_left), (file.metadata().unwrap().ino(), false));
    }

    #[test]
    fn very_many_files_are_looked_at_in_pieces() {
        let file = tempfile::tempfile().unwrap();
        let open: Vec<File> = (0..200).map(|_| file.try_clone().unwrap()).collect();
        // A turn that is over gets one descriptor done.
        let (few, is_left) = found(100, Duration::ZERO);
        assert!(is_left && few.len() <= 100, "{}", few.len());
        let inode = file.metadata().unwrap().ino();
        let (files, is_left) = found(10_000, Duration::ZERO);
        let of_it = files.iter().filter(|found| found.id.inode == inode).count();
        assert!(!is_left && of_it >= open.len(), "{of_it}");
    }

    #[test]
    fn what_procfs_says_is_read() {
        let mountinfo = "36 35 98:1 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\nodd\n";
        let devices = devices(mountinfo);
        assert_eq!(devices, BTreeMap::from([(36, 98 << 20 | 1)]));
        let info = "pos:\t0\nflags:\t0100002\nmnt_id:\t36\nino:\t1234\n";
        assert_eq!(identify(info, &devices), Some(FileId { device: 98 << 20 | 1, inode: 1234 }));
        assert_eq!(identify("pos:\t0\nmnt_id:\t37\nino:\t1\n", &devices), None);
        // Before 5.14.
        assert_eq!(identify("pos:\t0\nmnt_id:\t36\n", &devices), None);
    }

    #[test]
    fn paths_are_those_of_the_process() {
        for (path, root, expected) in [
            ("/data/x (deleted)", "/", Some("/data/x")),
            ("/jail/data", "/jail", Some("/data")),
            ("/jailer/data", "/jail", None),
            ("/data", "/jail", None),
            ("pipe:[7]", "/", None),
        ] {
            let path_seen = seen(path.into(), root.as_bytes());
            assert_eq!(path_seen, expected.map(Vec::from), "{path} in {root}");
        }
    }
}
