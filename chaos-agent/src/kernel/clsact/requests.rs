//! Requests to rtnetlink about traffic control, in the calling thread's network namespace.
//! <https://docs.kernel.org/networking/netlink_spec/tc.html>

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Where an interface has its `clsact` queueing discipline: `ffff:`.
const QDISC: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const KIND: &str = "clsact";

/// `htons(ETH_P_ALL)`: frames of every protocol.
const EVERY_PROTOCOL: u32 = (libc::ETH_P_ALL as u16).to_be() as u32;

/// Way of the frames that a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Egress,
    Ingress,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Egress, Self::Ingress];

    fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Egress => TcHandle::MIN_EGRESS,
            Self::Ingress => TcHandle::MIN_INGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }
}

/// Where a filter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The interface's.
    pub index: u32,
    pub side: Side,
    pub priority: u16,
    handle: TcHandle,
}

/// A socket to rtnetlink. It stays in the network namespace in which it was opened.
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Gives an interface a `clsact`, unless it has one; whether it had none.
    pub(super) fn add_qdisc(&mut self, index: u32) -> io::Result<bool> {
        let message = qdisc(index);
        match self.ask(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL)
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an interface's `clsact` away, with all filters that are in it.
    pub(super) fn remove_qdisc(&mut self, index: u32) -> io::Result<()> {
        self.ask(RouteNetlinkMessage::DelQueueDiscipline(qdisc(index)), 0).map(drop)
    }

    /// The interfaces that have a `clsact`.
    pub(super) fn qdiscs(&mut self) -> io::Result<Vec<u32>> {
        let all = TcMessage::with_index(0);
        let found = self.ask(RouteNetlinkMessage::GetQueueDiscipline(all), NLM_F_DUMP)?;
        let has_kind = |message: &TcMessage| {
            message
                .attributes
                .iter()
                .any(|one| matches!(one, TcAttribute::Kind(kind) if kind == KIND))
        };
        Ok(found.iter().filter(|message| has_kind(message)).map(index_of).collect())
    }

    /// Puts a program behind the filters that are there, under a name for people.
    pub(super) fn add_filter(
        &mut self,
        index: u32,
        side: Side,
        program: i32,
        name: &str,
    ) -> io::Result<Place> {
        let options = vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program as u32)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            // The program's answer is what becomes of the frame, not a class.
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ];
        // Priority 0: the kernel picks one.
        let place = Place { index, side, priority: 0, handle: TcHandle::UNSPEC };
        let message = filter(&place, Some(options));
        // The echo says where it is.
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO;
        let echo = self.ask(RouteNetlinkMessage::NewTrafficFilter(message), flags)?;
        let made = echo.first().ok_or_else(|| io::Error::other("no echo of the new filter"))?;
        Ok(place_of(made, side))
    }

    pub(super) fn remove_filter(&mut self, place: &Place) -> io::Result<()> {
        let message = filter(place, None);
        self.ask(RouteNetlinkMessage::DelTrafficFilter(message), 0).map(drop)
    }

    /// The filters at one side of an interface's `clsact`, with their names where they are
    /// programs.
    pub(super) fn filters(
        &mut self,
        index: u32,
        side: Side,
    ) -> io::Result<Vec<(Place, Option<String>)>> {
        let mut message = TcMessage::with_index(index as i32);
        message.header.parent = side.parent();
        let found = self.ask(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
        // Each priority has an entry of its own besides those of its filters.
        let filters = found.iter().filter(|message| message.header.handle != TcHandle::UNSPEC);
        Ok(filters.map(|message| (place_of(message, side), name_of(message))).collect())
    }

    /// Sends a request and collects what comes until its end.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<TcMessage>> {
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
                    NetlinkPayload::InnerMessage(
                        RouteNetlinkMessage::NewTrafficFilter(message)
                        | RouteNetlinkMessage::NewQueueDiscipline(message),
                    ) => found.push(message),
                    _ => {}
                }
            }
        }
    }
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

fn qdisc(index: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index as i32);
    message.header.handle = QDISC;
    message.header.parent = TcHandle::CLSACT;
    message.attributes = vec![TcAttribute::Kind(KIND.to_owned())];
    message
}

fn filter(place: &Place, options: Option<Vec<TcOption>>) -> TcMessage {
    let header = TcHeader {
        index: place.index as i32,
        handle: place.handle,
        parent: place.side.parent(),
        info: u32::from(place.priority) << 16 | EVERY_PROTOCOL,
        ..TcHeader::default()
    };
    let kind = TcAttribute::Kind(TcFilterBpf::KIND.to_owned());
    TcMessage::from_parts(
        header,
        [kind].into_iter().chain(options.map(TcAttribute::Options)).collect(),
    )
}

fn place_of(message: &TcMessage, side: Side) -> Place {
    let TcHeader { handle, info, .. } = message.header;
    Place { index: index_of(message), side, priority: (info >> 16) as u16, handle }
}

fn index_of(message: &TcMessage) -> u32 {
    message.header.index as u32
}

fn name_of(message: &TcMessage) -> Option<String> {
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;

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
        let header = TcHeader { index: 7, handle: QDISC, ..TcHeader::default() };
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
