//! What the agent tells a supervisor, over a socket that keeps messages apart (SOCK_SEQPACKET): a
//! letter, and a descriptor with it (SCM_RIGHTS).

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, recv, recvmsg, send as send_bytes, sendmsg,
    },
};

/// One message.
#[derive(Debug)]
pub enum Order {
    /// Answer the child of `run`, which leaves its listener in this memory, by the rules in it.
    Child(OwnedFd),
    /// Answer a container, whose listener this is.
    Container(OwnedFd),
    /// Judge by the rules in this memory, too.
    SharedRules(OwnedFd),
}

const CHILD: u8 = b'c';
const CONTAINER: u8 = b'l';
const BOARD: u8 = b'b';

/// Sends the order to answer the child that uses this memory.
pub fn send_child(socket: impl AsFd, shared: impl AsFd) -> io::Result<()> {
    send(socket, CHILD, shared)
}

/// Sends a container's listener.
pub fn send_container(socket: impl AsFd, listener: impl AsFd) -> io::Result<()> {
    send(socket, CONTAINER, listener)
}

/// Sends the memory that holds a target's rules.
pub fn send_shared(socket: impl AsFd, shared: impl AsFd) -> io::Result<()> {
    send(socket, BOARD, shared)
}

fn send(socket: impl AsFd, letter: u8, descriptor: impl AsFd) -> io::Result<()> {
    let descriptors = [descriptor.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(&[letter])], &rights, flags, None)?;
    Ok(())
}

/// Tells the agent that the rules of the last order hold. Waits for nothing: an agent that is gone
/// or does not listen needs no answer.
pub fn acknowledge(socket: impl AsFd) {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let _ = send_bytes(socket.as_fd().as_raw_fd(), &[BOARD], flags);
}

/// Waits until the rules of the last order hold, as long as the socket's timeout; a supervisor that has
/// ended has nobody to judge.
pub fn wait_for_acknowledgement(socket: impl AsFd) -> io::Result<()> {
    let mut letter = [0];
    loop {
        match recv(socket.as_fd().as_raw_fd(), &mut letter, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            // It has ended without reading the order.
            Err(Errno::ECONNRESET) => return Ok(()),
            answer => return Ok(answer.map(drop)?),
        }
    }
}

/// The next order; `None` when the agent is gone.
pub fn receive(socket: impl AsFd) -> io::Result<Option<Order>> {
    let mut letter = [0];
    let mut parts = [IoSliceMut::new(&mut letter)];
    let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            for received in received {
                // SAFETY: the kernel has just made it for us.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(received) });
            }
        }
    }
    let descriptor = descriptor.ok_or_else(|| io::Error::other("an order without a descriptor"))?;
    match letter[0] {
        CHILD => Ok(Some(Order::Child(descriptor))),
        CONTAINER => Ok(Some(Order::Container(descriptor))),
        BOARD => Ok(Some(Order::SharedRules(descriptor))),
        other => Err(io::Error::other(format!("an order of an unknown kind, {other}"))),
    }
}
