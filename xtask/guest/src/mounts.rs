//! The guest's file systems: the host's root directory, which nothing in the guest can change,
//! under a layer in memory, and the guest kernel's own file systems.

use std::{
    env::set_current_dir,
    fs,
    os::unix::fs::{chroot, symlink},
};

use anyhow::{Context as _, Result};
use chaos_guest::HOST_TAG;
use nix::mount::{MsFlags, mount};

/// Where the new root is put together.
const ROOT: &str = "/root";
const HOST: &str = "/host";
const LAYER: &str = "/layer";

struct FileSystem {
    kind: &'static str,
    target: &'static str,
    options: &'static str,
}

const fn file_system(kind: &'static str, target: &'static str) -> FileSystem {
    FileSystem { kind, target, options: "" }
}

/// What the kernel shows of itself, in the order of mounting.
const KERNEL: [FileSystem; 11] = [
    file_system("proc", "/proc"),
    file_system("sysfs", "/sys"),
    file_system("devtmpfs", "/dev"),
    FileSystem { options: "mode=620,ptmxmode=666", ..file_system("devpts", "/dev/pts") },
    FileSystem { options: "mode=1777", ..file_system("tmpfs", "/dev/shm") },
    FileSystem { options: "mode=755", ..file_system("tmpfs", "/run") },
    file_system("cgroup2", "/sys/fs/cgroup"),
    file_system("bpf", "/sys/fs/bpf"),
    file_system("debugfs", "/sys/kernel/debug"),
    file_system("tracefs", "/sys/kernel/tracing"),
    file_system("securityfs", "/sys/kernel/security"),
];

/// Links that udev makes elsewhere.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("fd/0", "/dev/stdin"),
    ("fd/1", "/dev/stdout"),
    ("fd/2", "/dev/stderr"),
];

impl FileSystem {
    fn mount(&self, flags: MsFlags) -> Result<()> {
        let Self { kind, target, options } = *self;
        fs::create_dir_all(target).with_context(|| format!("create {target}"))?;
        let source = if kind == "9p" { HOST_TAG } else { kind };
        mount(Some(source), target, Some(kind), flags, Some(options))
            .with_context(|| format!("mount {kind} on {target}"))
    }
}

/// What is needed before the host's files are there: the devices.
pub fn early() -> Result<()> {
    file_system("devtmpfs", "/dev").mount(MsFlags::empty())
}

/// Makes the host's file system, writable in memory, this process's root directory.
pub fn enter_host_root() -> Result<()> {
    // The host's files don't change meanwhile, so the guest may keep what it has read.
    let options = "trans=virtio,version=9p2000.L,cache=loose,msize=524288";
    FileSystem { options, ..file_system("9p", HOST) }.mount(MsFlags::MS_RDONLY)?;
    file_system("tmpfs", LAYER).mount(MsFlags::empty())?;
    for dir in ["/layer/upper", "/layer/work"] {
        fs::create_dir(dir).with_context(|| format!("create {dir}"))?;
    }
    let options = "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work";
    FileSystem { options, ..file_system("overlay", ROOT) }.mount(MsFlags::empty())?;

    // The initramfs can't be left by pivot_root(2): move the new root over it, as switch_root(8).
    set_current_dir(ROOT).with_context(|| format!("enter {ROOT}"))?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .with_context(|| format!("move {ROOT} to /"))?;
    chroot(".").context("chroot")?;
    set_current_dir("/").context("enter /")?;

    for file_system in &KERNEL {
        file_system.mount(MsFlags::empty())?;
    }
    for (to, link) in DEVICE_LINKS {
        symlink(to, link).with_context(|| format!("link {link}"))?;
    }
    Ok(())
}
