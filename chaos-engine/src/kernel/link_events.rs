//! Tells when interfaces of a network namespace come, go or change, by rtnetlink(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};

use super::KernelError;

/// A socket that hears of interfaces. It stays in the network namespace in which it was opened, and keeps that.
#[derive(Debug)]
pub struct LinkEvents(OwnedFd);

impl LinkEvents {
    /// Hears of what happens from now on in the calling thread's network namespace.
    ///
    /// # Errors
    /// The call that failed.
    pub fn open() -> Result<Self, KernelError> {
        let failed = |call| move |errno: Errno| KernelError::Call { call, source: errno.into() };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
            .map_err(failed("socket(NETLINK_ROUTE)"))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::RTMGRP_LINK as u32))
            .map_err(failed("bind to RTMGRP_LINK"))?;
        Ok(Self(socket))
    }

    /// Whether something has happened since the last call. What it was does not matter: whoever asks looks for itself.
    pub fn take(&self) -> bool {
        let mut has_some = false;
        loop {
            // Of each message the kernel gives what there is room for, and drops the rest.
            match recv(self.0.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR) => has_some = true,
                Err(Errno::EAGAIN) => return has_some,
                // There was more than it keeps (ENOBUFS), which is an event as well. With any other error nothing is known.
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
