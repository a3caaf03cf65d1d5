//! The two hosts: a client with a neighbour, and a server. Each has a cgroup below this process's own, and a
//! network namespace that only this process and those of the host hold.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsFd as _,
};

use chaos_engine::{
    cgroup::{CgroupRoot, NetNs, TransientCgroup},
    kernel::{lay_cable, plug_in},
};

use super::{
    DemoError,
    job::Job,
    process::{Place, Victim},
};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// The network between the two, as a fault names it.
pub const NETWORK: &str = "10.200.0.0/24";

/// Dropping it ends all processes and takes everything away.
pub struct Hosts {
    /// Keeps the client's network namespace known to the agent between two pieces of work, as a pod's own
    /// process does.
    _resident: Victim,
    _tcp: Victim,
    _echo: Victim,
    /// Where the server accepts connections, and where it sends datagrams back.
    pub tcp: SocketAddr,
    pub echo: SocketAddr,
    pub client: TransientCgroup,
    /// In the client's network namespace, and not a target.
    pub neighbour: TransientCgroup,
    server: TransientCgroup,
    pub client_network: NetNs,
    pub server_network: NetNs,
}

impl Hosts {
    /// # Errors
    /// When a cgroup, a namespace or a process can't be made.
    pub fn new(root: &CgroupRoot) -> Result<Self, DemoError> {
        let (client_network, server_network) = (NetNs::make()?, NetNs::make()?);
        client_network.enter_in_thread(|| {
            lay_cable(server_network.as_fd())?;
            plug_in(CLIENT)
        })??;
        server_network.enter_in_thread(|| plug_in(SERVER))??;
        let client = TransientCgroup::create(root)?;
        let neighbour = TransientCgroup::create(root)?;
        let server = TransientCgroup::create(root)?;
        let at_client = Place { cgroup: &client, network: &client_network };
        let at_server = Place { cgroup: &server, network: &server_network };
        let (resident, _) = Victim::serve(at_client, &Job::Echo { bind: any_port(CLIENT) })?;
        let (tcp_server, tcp) = Victim::serve(at_server, &Job::Serve { bind: any_port(SERVER) })?;
        let (echo_server, echo) = Victim::serve(at_server, &Job::Echo { bind: any_port(SERVER) })?;
        Ok(Self {
            _resident: resident,
            _tcp: tcp_server,
            _echo: echo_server,
            tcp,
            echo,
            client,
            neighbour,
            server,
            client_network,
            server_network,
        })
    }

    /// Where processes of the client, or of its neighbour, run.
    pub fn at_client<'a>(&'a self, cgroup: &'a TransientCgroup) -> Place<'a> {
        Place { cgroup, network: &self.client_network }
    }

    /// Where processes of the server run.
    pub fn at_server(&self) -> Place<'_> {
        Place { cgroup: &self.server, network: &self.server_network }
    }
}

/// This address, with a port that the kernel chooses.
pub fn any_port(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 0)
}
