//! A cable between two network namespaces of our own: a pair of veth(4) with an IPv4 address at each end.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    tc::{TcAttribute, TcMessage},
};

use super::{
    KernelError,
    rtnetlink::{Rtnetlink, failed},
};

/// The indices of both ends; both namespaces have nothing but a loopback, which has the first one.
const INDEX: u32 = 2;

/// Lays a cable from the calling thread's network namespace, which is new, to `peer`, which is new as well:
/// `eth0` at both ends. Needs CAP_NET_ADMIN in both. It goes away with either namespace.
///
/// # Errors
/// The call that failed.
pub fn lay_cable(peer: BorrowedFd<'_>) -> Result<(), KernelError> {
    let end = || LinkAttribute::IfName("eth0".to_owned());
    let mut far = LinkMessage::default();
    far.header.index = INDEX;
    far.attributes = vec![end(), LinkAttribute::NetNsFd(peer.as_raw_fd())];
    let mut link = LinkMessage::default();
    link.header.index = INDEX;
    let veth = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far)));
    link.attributes =
        vec![end(), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), veth])];
    let mut rtnetlink = open()?;
    rtnetlink
        .ask(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(failed("make a veth"))?;
    Ok(())
}

/// Gives the end of the cable in the calling thread's network namespace this address, in a network of 256, and
/// sets it up, and the loopback.
///
/// # Errors
/// The call that failed.
pub fn plug_in(address: Ipv4Addr) -> Result<(), KernelError> {
    let mut rtnetlink = open()?;
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 24;
    message.header.index = INDEX;
    let address = IpAddr::V4(address);
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    rtnetlink
        .ask(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(failed("add an address to a veth"))?;
    for index in [1, INDEX] {
        let mut link = LinkMessage::default();
        link.header.index = index;
        (link.header.change_mask, link.header.flags) = (LinkFlags::Up, LinkFlags::Up);
        rtnetlink.ask(RouteNetlinkMessage::SetLink(link), 0).map_err(failed("set up a link"))?;
    }
    Ok(())
}

/// The queueing disciplines of the calling thread's network namespace that somebody has added, by kind.
///
/// # Errors
/// The call that failed.
pub fn added_disciplines() -> Result<Vec<String>, KernelError> {
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let found = open()?.ask(request, NLM_F_DUMP).map_err(failed("list queueing disciplines"))?;
    let kinds = found.into_iter().filter_map(|found| match found {
        RouteNetlinkMessage::NewQueueDiscipline(found) => {
            found.attributes.into_iter().find_map(|attribute| match attribute {
                TcAttribute::Kind(kind) => Some(kind),
                _ => None,
            })
        }
        _ => None,
    });
    // What every new interface has.
    Ok(kinds.filter(|kind| kind != "noqueue").collect())
}

fn open() -> Result<Rtnetlink, KernelError> {
    Rtnetlink::new().map_err(failed("open rtnetlink"))
}
