//! What a container runtime hands over when it starts a container under a profile with a
//! `listenerPath`: the state of the container process as JSON, and the listener of its filter.
//! <https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#containerprocessstate>

use std::{
    collections::BTreeSet,
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use serde::Deserialize;
use thiserror::Error;

use super::abi::native;

/// What our profile has in `listenerMetadata` before the names of its calls.
pub const METADATA: &str = "chaos-agent:";

/// The name of the listener among the descriptors (`SeccompFdName` of the specification).
const LISTENER: &str = "seccompFd";

/// The runtime sends all of it at once; annotations make it long.
const LONGEST: usize = 1024 * 1024;

/// What a runtime said that can't be used.
#[derive(Debug, Error)]
pub enum ContainerError {
    #[error("receive the state of a container: {0}")]
    Receive(io::Error),
    #[error("the state of a container is no containerProcessState: {0}")]
    State(#[from] serde_json::Error),
    #[error("container {0} comes without a {LISTENER}")]
    NoListener(String),
}

/// A container that is about to start under a filter.
#[derive(Debug)]
pub struct ContainerProcess {
    pub id: String,
    /// Its first process, in the runtime's pid namespace.
    pub pid: i32,
    /// The calls of the native table that its filter tells of, as the profile says of itself;
    /// empty where that is not ours.
    pub calls: BTreeSet<u16>,
    pub listener: OwnedFd,
}

#[derive(Deserialize)]
struct ProcessState {
    fds: Vec<String>,
    pid: i32,
    #[serde(default)]
    metadata: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    id: String,
}

/// Reads what a runtime sends over a stream, until it is whole; waits for each part of it as long
/// as the stream's timeout. A runtime sends it in one call, then closes its end, and waits for
/// nothing; the kernel may cut a long one into parts.
pub fn receive(stream: impl AsFd) -> Result<ContainerProcess, ContainerError> {
    let failed = |errno: Errno| ContainerError::Receive(errno.into());
    let mut bytes = vec![0; LONGEST];
    let mut length = 0;
    let mut descriptors = Vec::new();
    loop {
        let mut parts = [IoSliceMut::new(&mut bytes[length..])];
        let mut space = cmsg_space!([RawFd; 8]);
        let (stream, flags) = (stream.as_fd().as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = recvmsg::<()>(stream, &mut parts, Some(&mut space), flags).map_err(failed)?;
        let read = message.bytes;
        for control in message.cmsgs().map_err(failed)? {
            if let ControlMessageOwned::ScmRights(received) = control {
                for received in received {
                    // SAFETY: the kernel has just made it for us.
                    descriptors.push(unsafe { OwnedFd::from_raw_fd(received) });
                }
            }
        }
        length += read;
        match serde_json::from_slice(&bytes[..length]) {
            Err(error) if error.is_eof() && read > 0 => {}
            state => return understand(state?, descriptors),
        }
    }
}

fn understand(
    state: ProcessState,
    descriptors: Vec<OwnedFd>,
) -> Result<ContainerProcess, ContainerError> {
    let ProcessState { fds, pid, metadata, state: State { id } } = state;
    let named = fds.iter().zip(descriptors).find(|(name, _)| *name == LISTENER);
    let Some((_, listener)) = named else { return Err(ContainerError::NoListener(id)) };
    Ok(ContainerProcess { id, pid, calls: calls(&metadata), listener })
}

/// The calls that a profile's metadata names; names that this machine does not have are none.
fn calls(metadata: &str) -> BTreeSet<u16> {
    let names = metadata.strip_prefix(METADATA).unwrap_or_default().split(',');
    names.filter_map(|name| native(name.trim())?.try_into().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{IoSlice, Write},
        os::unix::net::UnixStream,
        thread,
    };

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;

    /// What is received of a runtime that sends this, in these parts, the first with a descriptor.
    fn sent(parts: &[&[u8]]) -> Result<ContainerProcess, ContainerError> {
        let (mut runtime, agent) = UnixStream::pair().unwrap();
        let receiver = thread::spawn(move || receive(agent));
        let null = File::open("/dev/null").unwrap();
        let descriptors = [null.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let (socket, first) = (runtime.as_raw_fd(), [IoSlice::new(parts[0])]);
        sendmsg::<()>(socket, &first, &rights, MsgFlags::empty(), None).unwrap();
        parts[1..].iter().for_each(|part| runtime.write_all(part).unwrap());
        drop(runtime);
        receiver.join().unwrap()
    }

    const STATE: &[u8] = br#"{"ociVersion":"1.0.2-dev","fds":["seccompFd"],"pid":32139,
        "metadata":"chaos-agent:openat,fsync","state":{"ociVersion":"1.0.2-dev","id":"web",
        "status":"creating","pid":32139,"bundle":"/tmp/web"}}"#;

    #[test]
    fn the_state_that_runc_sends() {
        for parts in [&[STATE][..], &[&STATE[..10], &STATE[10..99], &STATE[99..]]] {
            let container = sent(parts).unwrap();
            assert_eq!((&*container.id, container.pid), ("web", 32139));
            assert_eq!(container.calls, BTreeSet::from([74, 257]));
        }
    }

    #[test]
    fn what_is_no_such_state_is_refused() {
        for other in [&b"{}"[..], &STATE[..99], b"hello"] {
            assert!(matches!(sent(&[other]), Err(ContainerError::State(_))));
        }
        let none = sent(&[br#"{"fds":["other"],"pid":1,"state":{"id":"web"}}"#]).unwrap_err();
        assert_eq!(none.to_string(), "container web comes without a seccompFd");
        assert!(calls("somebody else's:openat").is_empty());
    }

    /// The calls of which a shipped profile tells, which are those that it says it tells of.
    fn shipped(file: &str) -> BTreeSet<String> {
        let path = format!("{}/../manifests/seccomp/{file}", env!("CARGO_MANIFEST_DIR"));
        let profile: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let rules = profile["syscalls"].as_array().unwrap();
        let told = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_NOTIFY");
        let names: BTreeSet<String> = told
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        let metadata = profile["listenerMetadata"].as_str().unwrap();
        let said: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(metadata, format!("{METADATA}{}", said.join(",")));
        assert_eq!(calls(metadata).len(), names.len(), "each is a call of x86-64");
        names
    }

    #[test]
    fn the_profiles_name_their_calls_twice_and_differ_in_what_runc_needs() {
        let mut longer = shipped("chaos-agent-read.json");
        // runc writes after the filter is on, and refuses such a profile.
        assert!(!longer.iter().any(|name| name == "write"));
        longer.retain(|name| !["read", "close"].contains(&name.as_str()));
        assert_eq!(longer, shipped("chaos-agent.json"));
        assert_eq!(longer, shipped("chaos-agent-unconfined.json"));
    }
}
