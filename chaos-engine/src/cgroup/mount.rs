//! Where cgroup v2 is mounted, read from `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// One mount of the cgroup v2 hierarchy, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// The cgroup that is seen at the mount point, relative to the reader's cgroup namespace:
    /// `/` is the namespace's root, `/..` the cgroup above it.
    pub root: PathBuf,
    pub mount_point: PathBuf,
}

impl CgroupMount {
    /// How many levels above the reader's cgroup namespace root the mount begins; `None` where
    /// it does not begin at an ancestor (or at the root itself: `Some(0)`).
    pub fn levels_above_namespace(&self) -> Option<usize> {
        let relative = self.root.strip_prefix("/").ok()?;
        relative.iter().all(|part| part == "..").then(|| relative.iter().count())
    }
}

/// All visible cgroup v2 mounts. A later mount on the same point hides an earlier one.
pub fn cgroup2_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    let mut mounts: Vec<(CgroupMount, bool)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut fields = before.split(' ').skip(3);
        let (Some(root), Some(mount_point)) = (fields.next(), fields.next()) else { continue };
        let mount_point = unescape(mount_point);
        mounts.retain(|(mount, _)| !mount.mount_point.starts_with(&mount_point));
        let is_cgroup2 = after.split(' ').next() == Some("cgroup2");
        mounts.push((CgroupMount { root: unescape(root), mount_point }, is_cgroup2));
    }
    mounts.into_iter().filter_map(|(mount, is_cgroup2)| is_cgroup2.then_some(mount)).collect()
}

/// Undoes the kernel's octal escapes of blank, tab, newline and backslash (`mangle()` in
/// fs/seq_file.c).
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Path::new(&OsString::from_vec(bytes)).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(text: &str) -> Vec<(String, String)> {
        cgroup2_mounts(text)
            .into_iter()
            .map(|mount| {
                (mount.root.display().to_string(), mount.mount_point.display().to_string())
            })
            .collect()
    }

    fn one(root: &str, mount_point: &str) -> Vec<(String, String)> {
        vec![(root.to_owned(), mount_point.to_owned())]
    }

    #[test]
    fn unified() {
        let text = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 22 0:24 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
29 22 0:25 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw";
        assert_eq!(mounts(text), one("/", "/sys/fs/cgroup"));
    }

    #[test]
    fn hybrid() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(mounts(text), one("/", "/sys/fs/cgroup/unified"));
    }

    #[test]
    fn version_1_only() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        assert_eq!(mounts(text), []);
    }

    /// A DaemonSet with the host's hierarchy in a hostPath volume: the runtime's own mount of
    /// the private cgroup namespace comes first.
    #[test]
    fn container_with_the_hosts_hierarchy() {
        let text = "\
1187 1180 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
1190 1170 0:26 /../../../.. /host/sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw";
        let found = cgroup2_mounts(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].levels_above_namespace(), Some(0));
        assert_eq!(found[1].levels_above_namespace(), Some(4));
    }

    #[test]
    fn later_mount_hides_the_earlier_one() {
        let text = "\
1187 1180 0:26 / /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw
1190 1187 0:26 /../.. /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(mounts(text), one("/../..", "/sys/fs/cgroup"));
        let text = "\
1187 1180 0:26 / /sys/fs/cgroup/unified ro,relatime - cgroup2 cgroup rw
1190 1187 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw";
        assert_eq!(mounts(text), []);
    }

    #[test]
    fn bind_of_a_subtree_and_an_escaped_name() {
        let text = r"60 28 0:24 /kubepods.slice /mnt/my\040pods rw,relatime shared:9 - cgroup2 cgroup2 rw
61 28 0:24 /../other /mnt/other rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(
            mounts(text),
            [one("/kubepods.slice", "/mnt/my pods"), one("/../other", "/mnt/other")].concat()
        );
        let found = cgroup2_mounts(text);
        assert_eq!(found[0].levels_above_namespace(), None);
        assert_eq!(found[1].levels_above_namespace(), None);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        assert_eq!(mounts("\n1 2 3\n - cgroup2\nx y z /r - cgroup2 c rw"), []);
    }
}
