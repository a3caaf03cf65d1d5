//! Time namespaces, in which a process sees the clocks moved and the programs in the kernel do not.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    job::{Call, Repeated},
    machine::Shared,
    process::{Place, Process},
    victim::{command_line, parse_report},
};
use nix::{errno::Errno, libc};

use crate::daemon::{PATIENCE, command, complaint};

/// Makes `command` run where CLOCK_BOOTTIME is a day ahead.
fn a_day_ahead(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            Errno::result(libc::unshare(libc::CLONE_NEWTIME))?;
            let offsets = c"/proc/self/timens_offsets".as_ptr();
            let file = Errno::result(libc::open(offsets, libc::O_WRONLY | libc::O_CLOEXEC))?;
            let text = b"boottime 86400 0\n";
            Errno::result(libc::write(file, text.as_ptr().cast(), text.len()))?;
            let children = c"/proc/self/ns/time_for_children".as_ptr();
            let namespace = Errno::result(libc::open(children, libc::O_RDONLY | libc::O_CLOEXEC))?;
            Errno::result(libc::setns(namespace, libc::CLONE_NEWTIME))?;
            Ok(())
        })
    };
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), complaint(output))
}

#[test]
fn faults_act_and_end_where_the_boot_clock_is_moved() -> Result<()> {
    let _shared = Shared::acquire()?;
    chaos_tests::require!(
        "time namespaces", since 5, 6;
        std::fs::metadata("/proc/self/ns/time").map(drop).map_err(|error| error.to_string())
    );
    let to = "127.0.0.1:9".parse()?;
    let connect = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    // By a hook, and by a supervisor, which is a process of its own.
    for (fault, call, errno) in [
        ("fail connect with EHOSTDOWN for 10m", connect, "EHOSTDOWN"),
        ("fail fsync with EIO for 10m", Repeated::Fsync, "EIO"),
    ] {
        let mut run = command();
        run.args(["run", "--quiet", "--fault", fault, "--"]);
        run.args(command_line(Call::new(call, 20))?);
        a_day_ahead(&mut run);
        let mut process = Process::spawn(run, Place::here())?;
        process.line(PATIENCE).context("the victim is ready")?;
        let seen = parse_report::<Call>(&process.line(PATIENCE)?)?.total();
        assert!(process.wait(PATIENCE)?.success());
        assert_eq!(seen.failed_with(errno), 20, "{fault}: {seen:?}");
    }
    Ok(())
}

#[test]
fn doctor_says_what_it_reckons_in() -> Result<()> {
    let _shared = Shared::acquire()?;
    let mut doctor = command();
    doctor.arg("doctor");
    a_day_ahead(&mut doctor);
    let text = said(&doctor.output()?);
    ensure!(text.contains("moved by 86400 s"), "{text}");
    let text = said(&command().arg("doctor").output()?);
    ensure!(text.contains("boot clock") && text.contains("the kernel's"), "{text}");
    Ok(())
}
