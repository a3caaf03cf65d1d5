//! Every class of calls with every kind of errno, made in each way that a program of this machine
//! can make them.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use chaos_tests::machine::Shared;
use syscalls::{x86, x86_64};
use tempfile::TempDir;

use super::{Ran, programs::Programs, support};

const ROUNDS: u64 = 3;

const ERRNOS: [(&str, i32); 8] = [
    ("EPERM", 1),
    ("EINTR", 4),
    ("EIO", 5),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("ENOSPC", 28),
    ("EDQUOT", 122),
];

/// What a user names; what a program of x86-64 then calls, where that is more than the name; and
/// what i386 calls besides these or instead of them.
type Class = (&'static str, &'static [&'static str], &'static [&'static str]);

const CLASSES: [Class; 62] = [
    ("accept", &["accept", "accept4"], &["accept4"]),
    ("access", &["access", "faccessat", "faccessat2"], &[]),
    ("chmod", &["chmod", "fchmodat"], &[]),
    (
        "chown",
        &["chown", "lchown", "fchownat"],
        &["chown", "chown32", "lchown", "lchown32", "fchownat"],
    ),
    ("copy_file_range", &[], &[]),
    ("dup", &["dup", "dup2", "dup3"], &[]),
    ("epoll_create", &["epoll_create", "epoll_create1"], &[]),
    ("eventfd", &["eventfd", "eventfd2"], &[]),
    ("fallocate", &[], &[]),
    ("fchmod", &[], &[]),
    ("fchown", &[], &["fchown", "fchown32"]),
    ("fcntl", &[], &["fcntl", "fcntl64"]),
    ("flock", &[], &[]),
    ("fstatfs", &[], &["fstatfs", "fstatfs64"]),
    ("fsync", &["fsync", "fdatasync"], &[]),
    ("ftruncate", &[], &["ftruncate", "ftruncate64"]),
    ("futex", &[], &["futex", "futex_time64"]),
    ("getdents", &["getdents", "getdents64"], &[]),
    ("getppid", &[], &[]),
    ("getrandom", &[], &[]),
    ("getuid", &[], &["getuid", "getuid32"]),
    ("inotify_init", &["inotify_init", "inotify_init1"], &[]),
    ("ioctl", &[], &[]),
    ("link", &["link", "linkat"], &[]),
    ("listen", &[], &[]),
    ("lseek", &[], &["lseek", "_llseek"]),
    ("madvise", &[], &[]),
    ("memfd_create", &[], &[]),
    ("mkdir", &["mkdir", "mkdirat"], &[]),
    ("mknod", &["mknod", "mknodat"], &[]),
    ("mlock", &[], &[]),
    ("mmap", &[], &["mmap", "mmap2"]),
    ("mprotect", &[], &[]),
    ("mremap", &[], &[]),
    ("msync", &[], &[]),
    ("munmap", &[], &[]),
    ("nanosleep", &["nanosleep", "clock_nanosleep"], &["nanosleep", "clock_nanosleep_time64"]),
    ("open", &["open", "openat", "openat2", "creat"], &[]),
    ("pipe", &["pipe", "pipe2"], &[]),
    ("poll", &["poll", "ppoll"], &["poll", "ppoll", "ppoll_time64"]),
    ("pwrite64", &[], &[]),
    ("pwritev", &[], &[]),
    ("pwritev2", &[], &[]),
    ("read", &["read", "pread64", "readv", "preadv", "preadv2"], &[]),
    ("readlink", &["readlink", "readlinkat"], &[]),
    ("recvfrom", &[], &[]),
    ("recvmsg", &[], &[]),
    ("rename", &["rename", "renameat", "renameat2"], &[]),
    ("rmdir", &[], &[]),
    ("select", &["select", "pselect6"], &["select", "_newselect", "pselect6_time64"]),
    ("sendfile", &[], &["sendfile", "sendfile64"]),
    ("shutdown", &[], &[]),
    ("socketpair", &[], &[]),
    (
        "stat",
        &["stat", "lstat", "fstat", "newfstatat", "statx"],
        &["stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat64", "statx"],
    ),
    ("statfs", &[], &["statfs", "statfs64"]),
    ("symlink", &["symlink", "symlinkat"], &[]),
    ("sync", &["sync", "syncfs"], &[]),
    ("truncate", &[], &["truncate", "truncate64"]),
    ("unlink", &["unlink", "unlinkat"], &[]),
    ("utime", &["utime", "utimes", "utimensat"], &["utime", "utimes", "utimensat_time64"]),
    ("wait4", &[], &[]),
    ("waitid", &[], &[]),
];

/// The program `raw` prints by this call, so neither it nor its family, `write`, fails as a whole.
const PRINTS: &str = "writev";

/// What a program of either kind calls for a class.
fn made(class: &Class, is_i386: bool) -> Vec<&'static str> {
    let (name, native, i386) = *class;
    let made = match (is_i386, i386, native) {
        (true, [_, ..], _) => i386,
        (_, _, [_, ..]) => native,
        _ => return vec![name],
    };
    made.to_vec()
}

fn number(call: &str, is_i386: bool) -> Result<i32> {
    let unknown = || format!("there is no call {call}");
    if is_i386 {
        let call: x86::Sysno = call.parse().ok().with_context(unknown)?;
        Ok(call.id())
    } else {
        let call: x86_64::Sysno = call.parse().ok().with_context(unknown)?;
        Ok(call.id())
    }
}

/// Whether the kernel was built without a call: nothing is attached to what it does not enter. To be
/// asked of a call that came back unhurt, as this one makes it.
fn is_missing(raw: &str, number: &str) -> Result<bool> {
    let output = Command::new(raw).args(["1", number]).stdin(Stdio::null()).output()?;
    Ok(output.stdout.starts_with(b"-38\n"))
}

fn every_class_fails_with_every_errno(is_i386: bool) -> Result<()> {
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = if is_i386 { programs.raw_i386()? } else { programs.raw()? };
    let mut shown = 0;
    for classes in CLASSES.chunks(20) {
        let calls: Vec<&str> = classes.iter().flat_map(|class| made(class, is_i386)).collect();
        assert!(!calls.contains(&PRINTS));
        let named: Vec<&str> = classes.iter().map(|(name, ..)| *name).collect();
        let mut command = vec![raw.clone(), ROUNDS.to_string()];
        for call in &calls {
            command.push(number(call, is_i386)?.to_string());
        }
        for (errno, number) in ERRNOS {
            let ran =
                Ran::under(&format!("fail {} with {errno}", named.join(", ")), &[], &command)?;
            let mut failed = 0;
            for (index, (call, line)) in calls.iter().zip(&ran.lines).enumerate() {
                let all = format!("-{number}*{ROUNDS}");
                if *line != all && is_missing(&raw, &command[index + 2])? {
                    println!("{call}: this kernel does not have it");
                    continue;
                }
                assert_eq!(*line, all, "{call} with {errno}");
                failed += 1;
            }
            let total = ROUNDS * failed;
            assert_eq!(ran.counts(0), (total, total), "{}", ran.ledger);
            shown += failed;
        }
    }
    println!("{shown} pairs of a call and an errno");
    Ok(())
}

#[test]
fn every_class_of_calls_fails_with_every_errno() -> Result<()> {
    // It takes the calls that the kernel itself cannot answer.
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    every_class_fails_with_every_errno(false)
}

#[test]
fn every_class_of_calls_of_i386_fails_with_every_errno() -> Result<()> {
    // It takes the calls that the kernel itself cannot answer.
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    every_class_fails_with_every_errno(true)
}

/// What programs see whose calls are made by a C library, linked in each way.
#[test]
fn every_c_library_hands_the_errno_on() -> Result<()> {
    const BY_PATH: &str = "open, stat, access, mkdir, rmdir, link, symlink, readlink, rename, \
                           unlink, chmod, chown, truncate, utime, statfs";
    const BY_DESCRIPTOR: &str =
        "read, write, fsync, ftruncate, fallocate, stat, fchmod, lseek, flock, mmap";
    // It takes the calls that the kernel itself cannot answer.
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let directory = TempDir::new()?;
    let [names, files] = ["names", "files"].map(|name| directory.path().join(name));
    fs::create_dir(&names)?;
    fs::create_dir(&files)?;
    let file = files.join("file");
    fs::write(names.join("a"), "x")?;
    fs::write(&file, "x")?;
    let [names, files, file] =
        [&names, &files, &file].map(|path| path.to_str().expect("a path in UTF-8"));
    for (compiler, options) in
        [("gcc", &[][..]), ("gcc", &["-static"]), ("musl-gcc", &[]), ("musl-gcc", &["-static"])]
    {
        let program = programs.libc(compiler, options)?;
        for (errno, number) in ERRNOS {
            let faults = format!(
                "fail {BY_PATH} with {errno} under {names}; \
                 fail {BY_DESCRIPTOR} with {errno} under {files}"
            );
            let ran = Ran::under(&faults, &[], &[&*program, names, file])?;
            assert_eq!(ran.lines.len(), 33, "{compiler} {options:?}: {:?}", ran.lines);
            for line in &ran.lines {
                assert!(line.ends_with(&format!(" {number}")), "{compiler} {options:?}: {line}");
            }
            let total = ran.count(0, "injected") + ran.count(1, "injected");
            assert_eq!(total, 33, "{compiler} {options:?}: {}", ran.ledger);
        }
    }
    Ok(())
}
