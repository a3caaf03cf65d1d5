//! The process whose system calls are measured.

use std::{fs::File, io, os::fd::AsRawFd, time::Instant};

use anyhow::{Context, Result, bail};
use nix::libc;

/// Makes a call again and again and prints what one took, in nanoseconds.
pub fn run(call: &str, calls: u32) -> Result<()> {
    let zero = File::open("/dev/zero").context("open /dev/zero")?;
    let fd = zero.as_raw_fd();
    let mut byte = 0_u8;
    let number = match call {
        "getpgid" => libc::SYS_getpgid,
        "getppid" => libc::SYS_getppid,
        "pread64" => libc::SYS_pread64,
        other => bail!("nobody has written how to call {other}"),
    };
    let mut once = || {
        // SAFETY: `pread64` gets a buffer of the length that is given, `getpgid` gets a number, and `getppid` looks at nothing.
        unsafe { libc::syscall(number, fd, &raw mut byte, 1, 0) }
    };
    // Something is printed first, so that whatever prepares the victim is over.
    println!("ready");
    io::stdin().read_line(&mut String::new()).context("wait to begin")?;
    let start = Instant::now();
    for _ in 0..calls {
        once();
    }
    println!("{}", start.elapsed().as_nanos() as f64 / f64::from(calls));
    Ok(())
}
