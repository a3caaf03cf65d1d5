//! Interfaces of our own: they are there, and say nothing.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage},
};

use super::rtnetlink::Rtnetlink;

/// Up, and silent: no ARP, no multicast, no address, so that the kernel sends nothing by itself.
/// `attributes` are set before.
pub(super) fn set_up(
    rtnetlink: &mut Rtnetlink,
    index: u32,
    attributes: Vec<LinkAttribute>,
) -> io::Result<()> {
    let mut change = |mask: LinkFlags, flags: LinkFlags, attributes: Vec<LinkAttribute>| {
        let mut message = LinkMessage::default();
        message.header.index = index;
        (message.header.change_mask, message.header.flags) = (mask, flags);
        message.attributes = attributes;
        rtnetlink.ask(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    };
    change(LinkFlags::Noarp | LinkFlags::Multicast, LinkFlags::Noarp, attributes)?;
    // A kernel without IPv6 has nothing to be told of it.
    let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let inet6 = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_address])]);
    drop(change(LinkFlags::empty(), LinkFlags::empty(), vec![inet6]));
    change(LinkFlags::Up, LinkFlags::Up, Vec::new())
}
