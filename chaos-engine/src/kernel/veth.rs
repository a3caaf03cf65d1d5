//! Pairs of Ethernet interfaces: what goes into one end comes out of the other.
//! <https://man7.org/linux/man-pages/man4/veth.4.html>

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
};
use nix::unistd::{SysconfVar, sysconf};

use super::{
    KernelError, device, fq,
    rtnetlink::{Rtnetlink, failed},
};

/// The longest frames that there are: those of the loopback, without its header (`ETH_MAX_MTU`).
const MTU: u32 = 65_535;

/// Processors beyond that share queues.
const MOST_QUEUES: i64 = 64;

/// A pair without addresses, one end of it in another network namespace. It goes away when this is
/// dropped, and when that namespace ends.
pub struct Veth {
    /// In the namespace of the far end.
    rtnetlink: Rtnetlink,
    far: u32,
}

impl Veth {
    /// The calls that fail where the kernel has no such interface, or no fq.
    pub(super) const MAKE: &str = "make a veth";
    pub(super) const ADD_FQ: &str = "add fq to a veth";

    /// Makes one whose near end has the index `near` in the calling thread's network namespace; its
    /// name begins with `prefix` (at most 12 bytes), and `alias` says more to people. The far end has
    /// the index `far` in `namespace`, and a queue for each processor. Needs CAP_NET_ADMIN in both.
    ///
    /// # Errors
    /// The call that failed; `EEXIST` or `EBUSY` where an index is taken.
    pub fn make(
        near: u32,
        prefix: &str,
        alias: &str,
        namespace: BorrowedFd<'_>,
        far: u32,
    ) -> Result<(), KernelError> {
        let mut peer = LinkMessage::default();
        peer.header.index = far;
        peer.attributes = vec![
            LinkAttribute::IfName("far%d".to_owned()),
            LinkAttribute::Mtu(MTU),
            LinkAttribute::NumTxQueues(queues().into()),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ];
        let mut link = LinkMessage::default();
        link.header.index = near;
        link.attributes = vec![
            // The kernel puts a number for the pattern.
            LinkAttribute::IfName(format!("{prefix}%d")),
            LinkAttribute::Mtu(MTU),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let mut rtnetlink = Rtnetlink::new().map_err(failed("open rtnetlink"))?;
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        rtnetlink.ask(RouteNetlinkMessage::NewLink(link), flags).map_err(failed(Self::MAKE))?;
        let alias = vec![LinkAttribute::IfAlias(alias.to_owned())];
        device::set_up(&mut rtnetlink, near, alias).map_err(failed("set up the veth"))
    }

    /// Takes over a pair by its far end, which is in the calling thread's network namespace.
    pub fn take(far: u32) -> Result<Self, KernelError> {
        let mut rtnetlink = Rtnetlink::new().map_err(failed("open rtnetlink"))?;
        device::set_up(&mut rtnetlink, far, Vec::new()).map_err(failed("set up the veth"))?;
        Ok(Self { rtnetlink, far })
    }

    /// Gives each queue of the far end fq as its discipline: frames that one processor sends are sent on by
    /// the same one, in their order.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has none.
    pub fn queue(&mut self) -> Result<(), KernelError> {
        fq::add(&mut self.rtnetlink, self.far, queues()).map_err(failed(Self::ADD_FQ))
    }

    /// What waits there: frames, and their bytes. `None` when the pair is gone, with the network namespace
    /// of its near end.
    pub fn queued(&mut self) -> Result<Option<(u32, u32)>, KernelError> {
        fq::queued(&mut self.rtnetlink, self.far).map_err(failed("look at fq"))
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let mut link = LinkMessage::default();
        link.header.index = self.far;
        match self.rtnetlink.ask(RouteNetlinkMessage::DelLink(link), 0) {
            Ok(_) => {}
            // The target's network namespace was first.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => tracing::warn!(%error, "a veth stays until its namespace ends"),
        }
    }
}

/// One for each processor, and two at least, as interfaces with one have no room for more disciplines.
fn queues() -> u16 {
    // Of all of them, whichever of them this process may use.
    let processors = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
    processors.map_or(2, |count| count.clamp(2, MOST_QUEUES) as u16)
}
