//! systemd, where it is to lay out the node's cgroups.

use std::{
    ffi::CStr,
    fs,
    io::{self, ErrorKind},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{PATIENCE, POLL};

const PROGRAM: &str = "/lib/systemd/systemd";

/// Where it looks for units, instead of among those of the host.
const UNITS: &str = "/run/systemd/system";

/// A unit that wants nothing.
const UNIT: &str = "chaos-node.target";

/// Where it answers, without a message bus.
const SOCKET: &str = "/run/systemd/private";

/// Starts systemd as the first process of a process-id namespace, as in a container, and waits until
/// it answers. What this process starts from now on is in that namespace too, and sees the mounts
/// that this process sees. To be called while no mount is shared.
pub fn start() -> Result<()> {
    fs::create_dir_all(UNITS).with_context(|| format!("create {UNITS}"))?;
    let unit = format!("{UNITS}/{UNIT}");
    fs::write(&unit, "[Unit]\nDefaultDependencies=no\n")
        .with_context(|| format!("write {unit}"))?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).context("unshare")?;
    // By the first process of the namespace whose processes it is to show.
    let mount_proc = || {
        mount(Some(c"proc"), c"/proc", Some(c"proc"), MsFlags::empty(), None::<&CStr>)
            .map_err(io::Error::from)
    };
    let mut command = Command::new(PROGRAM);
    command.arg(format!("--unit={UNIT}")).args(["--show-status=no", "--log-level=warning"]);
    // It leaves the machine's devices and settings alone.
    command.env("container", "chaos-lab");
    command.env("SYSTEMD_UNIT_PATH", UNITS).env("SYSTEMD_GENERATOR_PATH", UNITS);
    // SAFETY: between fork and exec the closure makes a system call only and allocates nothing.
    unsafe { command.pre_exec(mount_proc) };
    let mut systemd = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{PROGRAM} is missing: install Debian's package systemd")
        }
        started => started.with_context(|| format!("run {PROGRAM}"))?,
    };
    for _ in 0..PATIENCE {
        if let Some(status) = systemd.try_wait().context("wait for systemd")? {
            bail!("systemd ended: {status}");
        }
        if Path::new(SOCKET).exists() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    bail!("systemd does not answer");
}

/// `program` as a scope of its own in `system.slice`.
pub fn scope(program: &str) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--scope", "--quiet", "--collect", "--slice=system.slice"]);
    command.arg(format!("--unit={program}")).arg(program);
    command
}
