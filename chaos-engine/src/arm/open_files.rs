//! Files that the processes of a target have open already when it is armed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use chaos_ebpf_common::event::FileId;

use crate::cgroup::{Cgroup, TargetError};

/// What procfs adds to the name of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// A file, and its path as the process sees it that has it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub id: FileId,
    pub path: Vec<u8>,
}

/// Those of every process in the subtree; what is closed meanwhile is passed over.
pub(super) fn open_files(cgroup: &Cgroup) -> Result<Vec<OpenFile>, TargetError> {
    let of_process = |pid| of_process(&PathBuf::from(format!("/proc/{pid}")));
    Ok(cgroup.processes()?.into_iter().filter_map(|pid| of_process(pid).ok()).flatten().collect())
}

/// `process` is its directory in procfs.
fn of_process(process: &Path) -> io::Result<Vec<OpenFile>> {
    let devices = devices(&fs::read_to_string(process.join("mountinfo"))?);
    let root = fs::read_link(process.join("root"))?.into_os_string().into_vec();
    let mut files = Vec::new();
    for entry in fs::read_dir(process.join("fd"))? {
        let name = entry?.file_name();
        // stat(2) is of no use: it tells the number that a file system shows, and overlayfs and
        // btrfs show others than those that the kernel goes by.
        let info = fs::read_to_string(process.join("fdinfo").join(&name));
        let link = fs::read_link(process.join("fd").join(&name));
        let (Ok(info), Ok(link)) = (info, link) else { continue };
        let path = seen(link.into_os_string().into_vec(), &root);
        if let (Some(id), Some(path)) = (identify(&info, &devices), path) {
            files.push(OpenFile { id, path });
        }
    }
    Ok(files)
}

/// The device of each mount by its id, from proc_pid_mountinfo(5).
fn devices(mountinfo: &str) -> BTreeMap<u64, u64> {
    let device = |line: &str| {
        let mut fields = line.split(' ');
        let mount = fields.next()?.parse().ok()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some((mount, major.parse::<u64>().ok()? << 20 | minor.parse::<u64>().ok()?))
    };
    mountinfo.lines().filter_map(device).collect()
}

/// The file of proc_pid_fdinfo(5), whose `ino` (kernel 5.14) is the kernel's own number.
fn identify(info: &str, devices: &BTreeMap<u64, u64>) -> Option<FileId> {
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
        fs::File,
        os::{fd::AsRawFd, unix::fs::MetadataExt},
    };

    use super::*;

    #[test]
    fn a_file_of_this_process_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap().join("file");
        let file = File::create(&path).unwrap();
        let files = of_process(Path::new("/proc/self")).unwrap();
        let path = path.into_os_string().into_vec();
        let found = files.iter().find(|open| open.path == path);
        let found = found.unwrap_or_else(|| panic!("{} of {files:?}", file.as_raw_fd()));
        assert_eq!(found.id.inode, file.metadata().unwrap().ino());
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
