//! Requests to rtnetlink(7), in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHeader, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::KernelError;

/// A socket to rtnetlink. It stays in the network namespace in which it was opened.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and collects what comes until its end. Without `NLM_F_DUMP` in `flags` the
    /// end is an acknowledgement.
    pub(super) fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        let end = if flags & NLM_F_DUMP == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        header.flags = NLM_F_REQUEST | end | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut found = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let (length, payload) = read(rest).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
                // Each begins at a multiple of 4 bytes (netlink(7)).
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                match payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => {
                        return if error.code.is_none() { Ok(found) } else { Err(error.to_io()) };
                    }
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    _ => {}
                }
            }
        }
    }
}

/// The error of a request, or of a call that leads to one.
pub(super) fn failed(call: &'static str) -> impl Fn(io::Error) -> KernelError {
    move |source| KernelError::Call { call, source }
}

/// The answer at the beginning of these bytes, and how long it is. Of a filter or a queueing
/// discipline that cannot be understood, which is somebody else's, it says only where it is.
fn read(bytes: &[u8]) -> Result<(usize, NetlinkPayload<RouteNetlinkMessage>), DecodeError> {
    let buffer = NetlinkBuffer::new_checked(&bytes)?;
    let payload = match NetlinkMessage::deserialize(bytes) {
        Ok(message) => message.payload,
        Err(error) => {
            let known = |payload| {
                TcHeader::parse(payload).map(|header| TcMessage::from_parts(header, Vec::new()))
            };
            NetlinkPayload::InnerMessage(match buffer.message_type() {
                libc::RTM_NEWTFILTER => {
                    RouteNetlinkMessage::NewTrafficFilter(known(buffer.payload())?)
                }
                libc::RTM_NEWQDISC => {
                    RouteNetlinkMessage::NewQueueDiscipline(known(buffer.payload())?)
                }
                _ => return Err(error),
            })
        }
    };
    Ok((buffer.length() as usize, payload))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_route::tc::TcHandle;

    use super::*;

    /// Bytes of a message about traffic control with one attribute.
    fn message(kind: u16, header: &TcHeader, attribute: u16, value: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; header.buffer_len()];
        header.emit(&mut payload);
        payload.extend(((4 + value.len()) as u16).to_ne_bytes());
        payload.extend(attribute.to_ne_bytes());
        payload.extend(value);
        payload.resize(payload.len().next_multiple_of(4), 0);
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn what_cannot_be_understood_is_there_all_the_same() {
        let header = TcHeader {
            index: 7,
            handle: TcHandle { major: 0xffff, minor: 0 },
            ..TcHeader::default()
        };
        // TCA_STATS, too short for anything.
        for kind in [libc::RTM_NEWTFILTER, libc::RTM_NEWQDISC] {
            let bytes = message(kind, &header, 3, &[1]);
            assert!(NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).is_err());
            let (length, payload) = read(&bytes).unwrap();
            assert_eq!(length, bytes.len());
            let NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewTrafficFilter(found)
                | RouteNetlinkMessage::NewQueueDiscipline(found),
            ) = payload
            else {
                panic!("{payload:?}");
            };
            assert_eq!((found.header, found.attributes), (header.clone(), Vec::new()));
        }
        assert!(read(&message(libc::RTM_NEWTCLASS, &header, 3, &[1])).is_err());
        assert!(read(&[0; 3]).is_err());
    }
}
