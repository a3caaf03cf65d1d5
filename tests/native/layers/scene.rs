//! Two hosts that talk by an interface on top of others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Shared,
    netns::TestNetns,
    process::{Place, Process},
};

use crate::pair::idle;

/// What the interface `top` of both hosts is, over `eth0`, which is one end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is none.
    Plain,
    Bridge,
    Bond,
    Vlan,
    Macvlan,
    Vxlan,
    VlanOverBond,
    VxlanOverBridge,
}

/// A bridge has the link address of its port, as many have, and so has a bond.
const fn eth0(host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, host]
}

const fn top(host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 210, host]
}

impl Kind {
    /// Commands that make `top` at this host.
    fn commands(self, host: u8) -> String {
        let (peer, eth0, top) = (3 - host, text(eth0(host)), text(top(host)));
        let over = |lower: &str, kind: &str| match kind {
            "vxlan" => {
                // Without a device below it: it follows the routes.
                let net = if lower == "eth0" { "10.200.0" } else { "10.211.0" };
                format!(
                    "link add top address {top} type vxlan id 7 dstport 4789 local {net}.{host} \
                     remote {net}.{peer}\n"
                )
            }
            "vlan" => format!("link add link {lower} name top type vlan id 100\n"),
            _ => format!("link add link {lower} name top address {top} type macvlan mode bridge\n"),
        };
        let master = |name: &str, kind: &str| {
            format!(
                "link add {name} address {eth0} type {kind}\n\
                 link set eth0 down\n\
                 link set eth0 master {name}\n\
                 link set eth0 up\n"
            )
        };
        let bond = "bond mode active-backup miimon 10";
        let middle = |kind: &str| {
            let peer = text(self::eth0(peer));
            format!(
                "{}link set middle up\n\
                 address add 10.211.0.{host}/24 dev middle\n\
                 neighbour replace 10.211.0.{} lladdr {peer} dev middle nud permanent\n",
                master("middle", kind),
                3 - host,
            )
        };
        match self {
            Self::Plain => String::new(),
            Self::Bridge => master("top", "bridge"),
            Self::Bond => master("top", bond),
            Self::Vlan => over("eth0", "vlan"),
            Self::Macvlan => over("eth0", "macvlan"),
            Self::Vxlan => over("eth0", "vxlan"),
            Self::VlanOverBond => middle(bond) + &over("middle", "vlan"),
            Self::VxlanOverBridge => middle("bridge") + &over("middle", "vxlan"),
        }
    }

    fn link_address(self, host: u8) -> [u8; 6] {
        match self {
            Self::Bridge | Self::Bond | Self::Vlan | Self::VlanOverBond | Self::Plain => eth0(host),
            Self::Macvlan | Self::Vxlan | Self::VxlanOverBridge => top(host),
        }
    }

    /// Whether `eth0` has addresses that are used beside those of `top`.
    pub fn leaves_eth0(self) -> bool {
        matches!(self, Self::Vlan | Self::Macvlan | Self::Vxlan)
    }

    /// Whether such interfaces can be made here.
    pub fn can_be_made(self) -> Result<(), String> {
        let made = || {
            let (one, other) = (TestNetns::new()?, TestNetns::new()?);
            one.veth(&other, 0)?;
            one.ip(&self.commands(1))
        };
        made().map_err(|error| format!("{error:#}"))
    }
}

/// The target is a cgroup on the first host.
pub struct Scene {
    _idle: [Process; 2],
    pub kind: Kind,
    pub target: TestCgroup,
    other: TestCgroup,
    pub netns: [TestNetns; 2],
    pub claim: Shared,
}

impl Scene {
    pub fn new(kind: Kind) -> Result<Self> {
        let claim = Shared::acquire()?;
        let netns = [TestNetns::new()?, TestNetns::new()?];
        netns[0].veth(&netns[1], 0)?;
        let (target, other) =
            (TestCgroup::new(&claim, "target")?, TestCgroup::new(&claim, "peer")?);
        let place = |host: usize| {
            let cgroup = if host == 0 { &target } else { &other };
            Place::here().cgroup(cgroup).netns(&netns[host])
        };
        for (host, netns) in (1..).zip(&netns) {
            netns.ip(&kind.commands(host))?;
            if kind == Kind::Plain {
                continue;
            }
            // By a process of the target: what receives for a tunnel is nobody's all the same.
            let mut ip = Command::new("ip");
            ip.args(["link", "set", "top", "up"]);
            let ended = Process::spawn(ip, place(usize::from(host) - 1))?.wait(PATIENCE)?;
            ensure!(ended.success(), "ip link set top up: {ended}");
            let link = text(kind.link_address(3 - host));
            netns.ip(&format!(
                "address add {} dev top\n\
                 address add {} dev top nodad\n\
                 neighbour replace {} lladdr {link} dev top nud permanent\n\
                 neighbour replace {} lladdr {link} dev top nud permanent\n",
                format_args!("{}/24", v4(210, host)),
                format_args!("{}/64", v6(0x210, host)),
                v4(210, 3 - host),
                v6(0x210, 3 - host),
            ))?;
        }
        let idle = [idle(place(0))?, idle(place(1))?];
        let scene = Self { _idle: idle, kind, target, other, netns, claim };
        scene.await_frames()?;
        Ok(scene)
    }

    /// Bonds and ports of bridges begin to forward some time after they are up.
    fn await_frames(&self) -> Result<()> {
        for (from, to) in [(0, 1), (1, 0)] {
            for address in self.addresses(to) {
                let receiver = self.netns[to].run(|| UdpSocket::bind((address, 0)))??;
                receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
                let to = receiver.local_addr()?;
                let sender = self.netns[from].run(|| {
                    UdpSocket::bind(match to {
                        SocketAddr::V4(_) => "0.0.0.0:0",
                        SocketAddr::V6(_) => "[::]:0",
                    })
                })??;
                let give_up = Instant::now() + PATIENCE;
                while receiver.recv(&mut [0; 1]).is_err() {
                    ensure!(Instant::now() < give_up, "{:?}: nothing gets to {to}", self.kind);
                    // Without a carrier there is no route.
                    let _ = sender.send_to(&[0], to);
                }
            }
        }
        Ok(())
    }

    pub fn place(&self, host: usize) -> Place<'_> {
        let cgroup = if host == 0 { &self.target } else { &self.other };
        Place::here().cgroup(cgroup).netns(&self.netns[host])
    }

    /// The addresses of a host's `top`.
    pub fn addresses(&self, host: usize) -> [IpAddr; 2] {
        if self.kind == Kind::Plain {
            return self.eth0(host);
        }
        let host = host as u8 + 1;
        [v4(210, host).into(), v6(0x210, host).into()]
    }

    /// The addresses of a host's `eth0`.
    pub fn eth0(&self, host: usize) -> [IpAddr; 2] {
        let host = host as u8 + 1;
        [v4(200, host).into(), v6(0x200, host).into()]
    }
}

/// Also on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn v4(net: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, net, 0, host)
}

fn v6(net: u16, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host.into())
}

fn text(link: [u8; 6]) -> String {
    link.map(|byte| format!("{byte:02x}")).join(":")
}
