//! A machine that routes between two hosts and for a container of its own, with the target on it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{TcpServe, UdpEcho},
    machine::Shared,
    netns::TestNetns,
    process::{Place, Process},
    victim::Victim,
};

use super::echo::Echo;
use crate::{nat, pair::idle};

/// Where a process that is no target listens on the router, and a server behind it, too.
pub const NEIGHBOURS: u16 = 53;
/// Where the target listens on the router, and a server behind it, too.
pub const TARGETS: u16 = 8053;
/// Where translated traffic is sent on to.
const BEHIND: [u16; 2] = [9090, 9091];

/// An address that is the router's by translation only, as those of a Service are.
const SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];

/// ```text
/// client ── router ── server
///             └ bridge ── container
/// ```
pub struct Scene {
    _servers: Vec<Echo>,
    _targets: (Victim<UdpEcho>, Victim<TcpServe>, Process),
    pub client: TestNetns,
    _others: [TestNetns; 3],
    pub target: TestCgroup,
    pub claim: Shared,
}

/// How a frame gets from the client to somebody else by way of the router.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// By its own address.
    Routed,
    /// By an address of a Service, translated to the server's, as kube-proxy does.
    Service,
    /// By the router's address, translated to the container's, as Docker publishes a port.
    Published,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Routed, Self::Service, Self::Published];

    /// Where the client sends to, for each family: ports on which somebody listens on the router, and
    /// somebody else behind it. A published port is the container's alone.
    pub fn destinations(self) -> Vec<SocketAddr> {
        let (addresses, ports): (_, &[u16]) = match self {
            Self::Routed => (["10.200.1.2", "fd00:200:1::2"], &[NEIGHBOURS, TARGETS]),
            Self::Service => (SERVICE, &[NEIGHBOURS, TARGETS]),
            Self::Published => (ROUTER, &[NEIGHBOURS]),
        };
        sockets(addresses, ports)
    }
}

/// The router's addresses at the client's side.
const ROUTER: [&str; 2] = ["10.200.0.2", "fd00:200::2"];

const BRIDGE_LINK: &str = "02:00:00:00:c9:01";
const CONTAINER_LINK: &str = "02:00:00:00:c9:02";

/// Where the target itself listens.
pub fn targets_own() -> Vec<SocketAddr> {
    sockets(ROUTER, &[TARGETS])
}

fn sockets(addresses: [&str; 2], ports: &[u16]) -> Vec<SocketAddr> {
    let addresses = addresses.map(|address| address.parse::<IpAddr>().expect("an address"));
    let on = |address| ports.iter().map(move |port| SocketAddr::new(address, *port));
    addresses.into_iter().flat_map(on).collect()
}

impl Scene {
    pub fn new(claim: Shared) -> Result<Self> {
        let [client, router, server, container] = [(); 4].map(|()| TestNetns::new());
        let (client, router, server, container) = (client?, router?, server?, container?);
        client.veth(&router, 0)?;
        router.veth(&server, 1)?;
        client.ip(&default_routes(["10.200.0.2", "fd00:200::2"]))?;
        // As every machine has, it need not know the addresses of Services.
        router.ip(&default_routes(["10.200.1.2", "fd00:200:1::2"]))?;
        server.ip(&default_routes(["10.200.1.1", "fd00:200:1::1"]))?;
        // As with a pair of ends, nothing waits for the discovery of neighbours.
        router.ip(&format!(
            "link add bridge address {BRIDGE_LINK} type bridge\n\
             link add port type veth peer name eth0 address {CONTAINER_LINK} netns {}\n\
             link set port master bridge\n\
             link set port up\n\
             link set bridge up\n\
             address add 10.201.0.1/24 dev bridge\n\
             address add fd00:201::1/64 dev bridge nodad\n\
             neighbour replace 10.201.0.2 lladdr {CONTAINER_LINK} dev bridge nud permanent\n\
             neighbour replace fd00:201::2 lladdr {CONTAINER_LINK} dev bridge nud permanent\n",
            container.path().display(),
        ))?;
        container.ip(&format!(
            "link set eth0 up\n\
             address add 10.201.0.2/24 dev eth0\n\
             address add fd00:201::2/64 dev eth0 nodad\n\
             neighbour replace 10.201.0.1 lladdr {BRIDGE_LINK} dev eth0 nud permanent\n\
             neighbour replace fd00:201::1 lladdr {BRIDGE_LINK} dev eth0 nud permanent\n",
        ))?;
        container.ip(&default_routes(["10.201.0.1", "fd00:201::1"]))?;
        router.run(forward)??;
        translate(&router)?;
        let target = TestCgroup::new(&claim, "target")?;
        let place = Place::here().cgroup(&target).netns(&router);
        let any = SocketAddr::from(([0_u16; 8], TARGETS));
        let targets = (
            Victim::start(UdpEcho { bind: any }, place)?,
            Victim::start(TcpServe { bind: any }, place)?,
            idle(place)?,
        );
        let at = [
            (&router, NEIGHBOURS),
            (&server, NEIGHBOURS),
            (&server, TARGETS),
            (&server, BEHIND[0]),
            (&server, BEHIND[1]),
            (&container, BEHIND[0]),
        ];
        let servers = at.into_iter().map(|(netns, port)| Echo::start(netns, port));
        Ok(Self {
            _servers: servers.collect::<Result<_>>()?,
            _targets: targets,
            client,
            _others: [router, server, container],
            target,
            claim,
        })
    }
}

fn default_routes(gateways: [&str; 2]) -> String {
    gateways.map(|gateway| format!("route add default via {gateway}\n")).concat()
}

/// The calling thread's namespace forwards from now on.
fn forward() -> Result<()> {
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{switch}");
        fs::write(&path, "1").with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// Lets the router translate addresses, by whichever iptables this machine has.
fn translate(router: &TestNetns) -> Result<()> {
    let families = [
        ("iptables", SERVICE[0], "10.200.1.2", ROUTER[0], "10.201.0.2"),
        ("ip6tables", SERVICE[1], "[fd00:200:1::2]", ROUTER[1], "[fd00:201::2]"),
    ];
    for (iptables, service, server, router_address, container) in families {
        for protocol in ["tcp", "udp"] {
            let rules = [
                (service, NEIGHBOURS, server, BEHIND[0]),
                (service, TARGETS, server, BEHIND[1]),
                (router_address, NEIGHBOURS, container, BEHIND[0]),
            ];
            for (address, port, to, to_port) in rules {
                let rule = format!(
                    "-A PREROUTING -p {protocol} -d {address} --dport {port} \
                     -j DNAT --to-destination {to}:{to_port}"
                );
                nat::change(router, iptables, &rule)?;
            }
        }
    }
    Ok(())
}
