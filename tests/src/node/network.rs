//! The namespace that control plane and node share.

use anyhow::Result;

use crate::{
    control_plane::{HOST, NODE_ADDRESS, SERVICE},
    netns::TestNetns,
};

/// The pods' addresses.
pub const PODS: &str = "10.244.0.0/24";

/// The length of the prefix of the network of host and node.
pub const PREFIX: u8 = 24;

/// The machine's interface, whose other end is the namespace's. Without the option ROM, which
/// could boot from a network.
pub const QEMU: [&str; 4] = [
    "-netdev",
    "tap,id=node,ifname=node,script=no,downscript=no",
    "-device",
    "virtio-net-pci,netdev=node,mac=52:54:00:00:00:01,romfile=",
];

/// Makes it, with nothing at the other end yet.
pub fn make() -> Result<TestNetns> {
    let netns = TestNetns::new()?;
    netns.ip(&format!(
        "address add {SERVICE}/32 dev lo\n\
         tuntap add node mode tap\n\
         address add {HOST}/{PREFIX} dev node\n\
         link set node up\n\
         route add {PODS} via {NODE_ADDRESS}\n"
    ))?;
    Ok(netns)
}
