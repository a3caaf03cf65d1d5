//! What the agent tells a supervisor, over a socket that keeps messages apart (SOCK_SEQPACKET): a
//! letter, and a descriptor with it (SCM_RIGHTS).

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv,
            recvmsg, send as send_bytes, sendmsg, setsockopt, socketpair,
            sockopt::{ReceiveTimeout, SendTimeout},
        },
        time::{TimeVal, TimeValLike},
    },
};

/// How long it may take a supervisor to take rules, or an order to be sent to one that takes none; the agent does nothing
/// else meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// One message.
#[derive(Debug)]
pub enum Order {
    /// Answer the child of `run`, which leaves its listener in this memory, by the rules in it.
    Child(OwnedFd),
    /// Answer a container, whose listener this is.
    Container(OwnedFd),
    /// Judge by the rules in this memory, too. The answer has this number.
    SharedRules(OwnedFd, u64),
}

const CHILD: u8 = b'c';
const CONTAINER: u8 = b'l';
const BOARD: u8 = b'b';

/// A letter, and the number of the order.
const LENGTH: usize = 9;

/// The agent's end, which waits for no longer than [`PATIENCE`] each time, and the supervisor's.
pub fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let patience = TimeVal::milliseconds(PATIENCE.as_millis() as i64);
    setsockopt(&ours, ReceiveTimeout, &patience)?;
    setsockopt(&ours, SendTimeout, &patience)?;
    Ok((ours, its))
}

/// Sends the order to answer the child that uses this memory.
pub fn send_child(socket: impl AsFd, shared: impl AsFd) -> io::Result<()> {
    send(socket, CHILD, 0, shared)
}

/// Sends a container's listener.
pub fn send_container(socket: impl AsFd, listener: impl AsFd) -> io::Result<()> {
    send(socket, CONTAINER, 0, listener)
}

/// Sends the memory that holds a target's rules, with the number that the answer is to have.
pub fn send_shared(socket: impl AsFd, shared: impl AsFd, number: u64) -> io::Result<()> {
    send(socket, BOARD, number, shared)
}

fn send(socket: impl AsFd, letter: u8, number: u64, descriptor: impl AsFd) -> io::Result<()> {
    let descriptors = [descriptor.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let (flags, message) = (MsgFlags::MSG_NOSIGNAL, message(letter, number));
    let parts = [IoSlice::new(&message)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &parts, &rights, flags, None)?;
    Ok(())
}

fn message(letter: u8, number: u64) -> [u8; LENGTH] {
    let mut message = [letter; LENGTH];
    message[1..].copy_from_slice(&number.to_ne_bytes());
    message
}

/// Tells the agent that the rules of the order with this number hold. Waits for nothing: an agent that is gone
/// or does not listen needs no answer.
pub fn acknowledge(socket: impl AsFd, number: u64) {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let _ = send_bytes(socket.as_fd().as_raw_fd(), &message(BOARD, number), flags);
}

/// Waits until the rules of the order with this number hold, hardly longer than the socket's timeout. An answer to an order
/// before it comes late, and says nothing of this one. A supervisor that has ended has nobody to judge.
pub fn wait_for_acknowledgement(socket: impl AsFd, number: u64) -> io::Result<()> {
    let (expected, mut answer) = (message(BOARD, number), [0; LENGTH]);
    let give_up = Instant::now() + PATIENCE;
    loop {
        match recv(socket.as_fd().as_raw_fd(), &mut answer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            // It has ended without reading the order.
            Err(Errno::ECONNRESET) | Ok(0) => return Ok(()),
            Ok(_) if answer == expected => return Ok(()),
            Ok(_) if Instant::now() >= give_up => return Err(ErrorKind::WouldBlock.into()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The next order; `None` when the agent is gone.
pub fn receive(socket: impl AsFd) -> io::Result<Option<Order>> {
    let mut order = [0; LENGTH];
    let mut parts = [IoSliceMut::new(&mut order)];
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
    let [letter, number @ ..] = order;
    match letter {
        CHILD => Ok(Some(Order::Child(descriptor))),
        CONTAINER => Ok(Some(Order::Container(descriptor))),
        BOARD => Ok(Some(Order::SharedRules(descriptor, u64::from_ne_bytes(number)))),
        other => Err(io::Error::other(format!("an order of an unknown kind, {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn taken(socket: &OwnedFd) -> u64 {
        match receive(socket).unwrap() {
            Some(Order::SharedRules(_, number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_that_comes_late_is_not_taken_for_the_next_one() {
        let (agent, supervisor) = ends().unwrap();
        let memory = File::open("/dev/null").unwrap();
        (1..=2).for_each(|number| send_shared(&agent, &memory, number).unwrap());
        // The first one when the agent does not wait for it any more.
        acknowledge(&supervisor, taken(&supervisor));
        let silent = wait_for_acknowledgement(&agent, 2).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
        acknowledge(&supervisor, taken(&supervisor));
        wait_for_acknowledgement(&agent, 2).unwrap();
        drop(supervisor);
        wait_for_acknowledgement(&agent, 3).unwrap();
    }

    #[test]
    fn a_supervisor_that_takes_no_orders_does_not_hold_the_agent_up() {
        let (agent, _supervisor) = ends().unwrap();
        let memory = File::open("/dev/null").unwrap();
        let refused = (0..1_000_000).find_map(|number| send_shared(&agent, &memory, number).err());
        assert_eq!(refused.unwrap().kind(), ErrorKind::WouldBlock);
    }
}
