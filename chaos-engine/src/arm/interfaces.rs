//! The interfaces that frame hooks attach to.

use std::collections::BTreeMap;

use chaos_ebpf_common::line::is_line;
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrLike};

use super::ArmError;
use crate::kernel::KernelError;

/// Link types with an Ethernet header of 14 bytes (`include/uapi/linux/if_arp.h`).
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// An interface of the calling thread's network namespace.
pub(super) struct Interface {
    pub index: u32,
    pub name: String,
}

/// Ethernet-like interfaces and the loopback. Others (tun, WireGuard, SIT) have no link header,
/// or another one, and are left alone, as are delay lines.
pub(super) fn ethernet_interfaces() -> Result<Vec<Interface>, ArmError> {
    let addresses = getifaddrs().map_err(|errno| {
        ArmError::Kernel(KernelError::Call { call: "getifaddrs", source: errno.into() })
    })?;
    let mut interfaces = BTreeMap::new();
    for interface in addresses {
        let Some(address) = interface.address.filter(|address| address.family().is_some()) else {
            continue;
        };
        if let Some(link) = address.as_link_addr()
            && matches!(link.hatype(), ARPHRD_ETHER | ARPHRD_LOOPBACK)
            && let Ok(index) = u32::try_from(link.ifindex())
            && !is_line(index)
        {
            interfaces.insert(index, interface.interface_name);
        }
    }
    Ok(interfaces.into_iter().map(|(index, name)| Interface { index, name }).collect())
}
