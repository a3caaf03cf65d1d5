//! What a runtime does to the agent's process: a cgroup and a cgroup namespace of its own, and the
//! DaemonSet's capabilities.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::Command,
};

use anyhow::{Context, Result};
use caps::{CapSet, Capability};
use chaos_tests::cgroup::TestCgroup;
use nix::{
    sched::{CloneFlags, unshare},
    sys::prctl,
};

/// Lets a program begin in a cgroup that it sees as the root. The host's hierarchy stays mounted,
/// as the DaemonSet's volume has it.
pub fn isolate(command: &mut Command, cgroup: &TestCgroup) -> Result<()> {
    let path = cgroup.path().join("cgroup.procs");
    let procs = File::options().write(true).open(&path);
    let procs = procs.with_context(|| format!("open {}", path.display()))?;
    let enter = move || {
        (&procs).write_all(b"0")?;
        Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?)
    };
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

/// What `manifests/base/daemonset.yaml` adds to no capabilities at all.
pub fn of_manifest() -> Result<HashSet<Capability>> {
    let path = xtask::paths::workspace().join("manifests/base/daemonset.yaml");
    let manifest = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lines = manifest.lines().map(str::trim);
    let added = lines.skip_while(|line| *line != "add:").skip(1);
    let names = added.map_while(|line| line.strip_prefix("- ")?.split_whitespace().next());
    names.map(|name| Ok(format!("CAP_{name}").parse()?)).collect()
}

/// Lets a program that runs as root have no more than these, however it is executed: the
/// permitted set of root's programs is the bounding set.
/// <https://man7.org/linux/man-pages/man7/capabilities.7.html>
pub fn confine(command: &mut Command, capabilities: &HashSet<Capability>) {
    let taken: Vec<Capability> =
        caps::all().into_iter().filter(|capability| !capabilities.contains(capability)).collect();
    let confine = move || {
        for capability in &taken {
            // One that this kernel does not know yet cannot be had either.
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(io::Error::other)?;
            }
        }
        prctl::set_no_new_privs()?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls; it allocates for an error
    // only, after which the child ends.
    unsafe { command.pre_exec(confine) };
}
