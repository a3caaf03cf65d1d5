//! The same faults by `strace -e inject=` and by us: the victim must see the same sequence.

use std::{fmt::Write, process::Command};

use anyhow::{Context, Result, ensure};
use chaos_tests::machine::Shared;

use super::{Ran, answers_by_seccomp, programs::Programs, require_seccomp, support};

/// Calls that can be made again and again, as `raw` is told to make them: name, errno, number and
/// arguments. Of socket calls only those that no cgroup hook answers, of each family of names one.
const CALLS: &[(&str, &str, &str)] = &[
    ("brk", "ENOMEM", "12,0"),
    ("capget", "EPERM", "125,b,0"),
    ("clock_getres", "EINVAL", "229,1,b"),
    ("close", "EBADF", "3,99"),
    ("epoll_create1", "EMFILE", "291,-1"),
    ("eventfd2", "ENFILE", "290,0,-1"),
    ("faccessat", "EIO", "269,-100,s/dev/null,0"),
    ("fallocate", "ENOSPC", "285,-1,0,0,1"),
    ("fcntl", "EAGAIN", "72,1,1"),
    ("flock", "EAGAIN", "73,-1,1"),
    ("fsync", "EIO", "74,-1"),
    ("ftruncate", "EFBIG", "77,-1,0"),
    ("getcwd", "ERANGE", "79,b,65536"),
    ("getdents64", "EIO", "217,-1,b,100"),
    ("getpid", "EPERM", "39"),
    ("getpriority", "ESRCH", "140,0,0"),
    ("getrandom", "EAGAIN", "318,b,16,0"),
    ("getrusage", "EFAULT", "98,0,b"),
    ("getuid", "EPERM", "102"),
    ("listen", "EADDRINUSE", "50,-1,1"),
    ("lseek", "ESPIPE", "8,-1,0,0"),
    ("lstat", "ENOENT", "6,s/dev/null,b"),
    ("madvise", "ENOMEM", "28,b,0,0"),
    ("memfd_create", "EMFILE", "319,0,0"),
    ("mkdir", "ENOSPC", "83,s/proc/none,0"),
    ("mmap", "ENOMEM", "9,0,0,0,34,-1,0"),
    ("mprotect", "EACCES", "10,0,0,0"),
    ("openat", "ENFILE", "257,-100,s/nonexistent,0"),
    ("pipe2", "EMFILE", "293,0,0"),
    ("pread64", "EIO", "17,-1,b,1,0"),
    ("prlimit64", "EPERM", "302,0,7,0,b"),
    ("pwrite64", "ENOSPC", "18,-1,b,1,0"),
    ("readlink", "EINVAL", "89,s/proc/self/exe,b,100"),
    ("rename", "EXDEV", "82,s/proc/a,s/proc/b"),
    ("sched_yield", "EINVAL", "24"),
    ("shutdown", "ENOTCONN", "48,-1,0"),
    ("statfs", "EIO", "137,s/,b"),
    ("sysinfo", "EFAULT", "99,b"),
    ("times", "EFAULT", "100,b"),
    ("umask", "EPERM", "95,18"),
    ("uname", "EFAULT", "63,b"),
    ("unlink", "EBUSY", "87,s/proc/none"),
];

const ROUNDS: &str = "40";

/// How strace and our language say the same.
const PATTERNS: [(&str, &str); 4] =
    [("", ""), (":when=1+", ""), (":when=3", " every 3rd at most 1"), (":when=7+7", " every 7th")];

fn lines_of_strace(raw: &str, when: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    for (name, errno, _) in CALLS {
        strace.arg("-e").arg(format!("inject={name}:error={errno}{when}"));
    }
    let output = strace.arg(raw).arg(ROUNDS).args(arguments).output().context("start strace")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "strace: {said}");
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

#[test]
fn victims_see_what_strace_would_show_them() -> Result<()> {
    require_seccomp!();
    let _machine = Shared::acquire()?;
    let programs = Programs::new()?;
    let raw = programs.raw()?;
    let arguments: Vec<&str> = CALLS.iter().map(|(_, _, argument)| *argument).collect();
    for (when, how) in PATTERNS {
        let theirs = lines_of_strace(&raw, when, &arguments)?;
        let mut faults = String::new();
        for (name, errno, _) in CALLS {
            writeln!(faults, "fail {name} with {errno}{how}")?;
        }
        let command = [&[&*raw, ROUNDS], &arguments[..]].concat();
        let ours = Ran::under(&faults, &[], &command)?;
        for (index, (name, _, _)) in CALLS.iter().enumerate() {
            assert_eq!(ours.lines[index], theirs[index], "{name}{when}");
            let (matched, injected) = ours.counts(index);
            assert!(matched >= 40 && injected > 0, "{name}{when}: {}", ours.ledger);
        }
    }
    Ok(())
}
