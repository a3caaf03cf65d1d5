//! Requests to rtnetlink about traffic control, in the calling thread's network namespace.
//! <https://docs.kernel.org/networking/netlink_spec/tc.html>

use std::io;

use chaos_plan::Position;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};

use crate::kernel::rtnetlink::Rtnetlink;

/// Where an interface has its `clsact` queueing discipline: `ffff:`.
const QDISC: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const KIND: &str = "clsact";

/// `htons(ETH_P_ALL)`: frames of every protocol.
const EVERY_PROTOCOL: u32 = (libc::ETH_P_ALL as u16).to_be() as u32;

/// Priorities of our filters; the lowest is asked first. They are behind those that somebody chose, and
/// before the ones that the kernel picks where nobody did (`tcf_auto_prio`: 0xc000 and below, each before
/// the others). Several filters may have the same.
const FIRST: u16 = 0xb0c0;
const LAST: u16 = FIRST + 1;

/// ReturnTag of the frames that a filter sees.
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

/// It stays in the network namespace in which it was made.
pub(super) struct Requests {
    rtnetlink: Rtnetlink,
}

impl Requests {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { rtnetlink: Rtnetlink::new()? })
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

    /// Puts a program among the filters that are there, under a name for people.
    pub(super) fn add_filter(
        &mut self,
        index: u32,
        side: Side,
        position: Position,
        program: i32,
        name: &str,
    ) -> io::Result<Place> {
        let options = vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program as u32)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            // The program's answer is what becomes of the frame, not a class.
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ];
        let priority = match position {
            Position::First => FIRST,
            Position::Last => LAST,
        };
        let place = Place { index, side, priority, handle: TcHandle::UNSPEC };
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

    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<TcMessage>> {
        let answers = self.rtnetlink.ask(request, flags)?;
        Ok(answers.into_iter().filter_map(of_traffic_control).collect())
    }
}

fn of_traffic_control(answer: RouteNetlinkMessage) -> Option<TcMessage> {
    match answer {
        RouteNetlinkMessage::NewTrafficFilter(message)
        | RouteNetlinkMessage::NewQueueDiscipline(message) => Some(message),
        _ => None,
    }
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
