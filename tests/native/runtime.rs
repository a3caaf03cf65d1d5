//! Plays a container runtime: starts a command under a seccomp filter, and hands the listener to an
//! agent as the specification of the OCI says. Unlike runc it makes no call between the two, so that
//! every call can be listed.

use std::{
    collections::BTreeSet,
    io::IoSlice,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow};
use chaos_engine::seccomp::{Filter, SharedRules, container::METADATA, filtered};
use chaos_tests::process::{Place, Process};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;
use syscalls::x86_64::Sysno;

/// Starts a command whose filter tells the agent at `socket` of these calls.
pub fn start(command: Command, place: Place<'_>, calls: &[&str], socket: &Path) -> Result<Process> {
    let numbers: BTreeSet<u32> = calls.iter().map(|call| number(call)).collect::<Result<_>>()?;
    let filter = Filter::new(&numbers);
    // Of the shared rules only the place is used where the child leaves its listener.
    let shared = Arc::new(SharedRules::create()?);
    let metadata = format!("{METADATA}{}", calls.join(","));
    let (offering, socket) = (shared.clone(), socket.to_owned());
    let handover = thread::spawn(move || hand_over(&offering, &socket, &metadata));
    let process = Process::spawn_after(command, place, |command| filtered(command, filter, shared));
    handover.join().map_err(|_| anyhow!("the runtime panicked"))??;
    process
}

fn hand_over(shared: &SharedRules, socket: &Path, metadata: &str) -> Result<()> {
    let offered = shared.handover().take()?.context("no process has come with a listener")?;
    let state = json!({
        "ociVersion": "1.0.2",
        "fds": ["seccompFd"],
        "pid": offered.child.pid,
        "metadata": metadata,
        "state": {
            "ociVersion": "1.0.2",
            "id": format!("played-{}", offered.child.pid),
            "status": "creating",
            "pid": offered.child.pid,
            "bundle": "/",
        },
    })
    .to_string();
    let stream = UnixStream::connect(socket).context("connect to the agent as a runtime")?;
    let descriptors = [offered.listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let parts = [IoSlice::new(state.as_bytes())];
    sendmsg::<()>(stream.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    shared.handover().accept();
    Ok(())
}

fn number(call: &str) -> Result<u32> {
    let call: Sysno = call.parse().map_err(|_| anyhow!("x86-64 has no call {call}"))?;
    Ok(u32::try_from(call.id())?)
}
