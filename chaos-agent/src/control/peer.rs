//! Who is at the other end.

use std::{fmt, io};

use nix::unistd::{Uid, geteuid};
use tokio::net::UnixStream;

/// A client, as the kernel vouches for it (SO_PEERCRED, unix(7)): who it was when it connected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    uid: Uid,
    pid: Option<i32>,
}

impl Peer {
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: Uid::from_raw(credentials.uid()), pid: credentials.pid() })
    }

    /// Whether it is root or the agent's own user. The socket's mode says the same, but can be
    /// changed.
    pub fn may_control(&self) -> bool {
        may_control(self.uid, geteuid())
    }
}

fn may_control(peer: Uid, own: Uid) -> bool {
    peer.is_root() || peer == own
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "user {}, process {pid}", self.uid),
            None => write!(f, "user {}", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_oneself_and_nobody_else() {
        let [root, agent, other] = [0, 1000, 1001].map(Uid::from_raw);
        assert!(may_control(root, agent));
        assert!(may_control(agent, agent));
        assert!(!may_control(other, agent));
        assert!(!may_control(agent, root));
    }
}
