//! The two hosts: a client with a neighbour, and a server.

use std::net::SocketAddr;

use anyhow::Result;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{TcpServe, UdpEcho},
    machine::Quiet,
    netns::{End, TestNetns},
    process::Place,
    victim::Victim,
};

use crate::traffic::Route;

/// Dropping it takes everything away.
pub struct Hosts {
    /// Keeps the client's network namespace known to the agent between two pieces of work, as a
    /// pod's own process does.
    _resident: Victim<UdpEcho>,
    tcp: Victim<TcpServe>,
    echo: Victim<UdpEcho>,
    pub client: TestCgroup,
    /// In the client's network namespace, and not a target.
    pub neighbour: TestCgroup,
    server: TestCgroup,
    pub client_netns: TestNetns,
    pub server_netns: TestNetns,
    pub client_end: End,
    pub server_end: End,
}

impl Hosts {
    pub fn new(quiet: &Quiet) -> Result<Self> {
        let (client_netns, server_netns) = (TestNetns::new()?, TestNetns::new()?);
        let (client_end, server_end) = client_netns.veth(&server_netns, 0)?;
        let client = TestCgroup::new(quiet, "client")?;
        let neighbour = TestCgroup::new(quiet, "neighbour")?;
        let server = TestCgroup::new(quiet, "server")?;
        let resident = Place::here().cgroup(&client).netns(&client_netns);
        let resident = Victim::start(UdpEcho { bind: client_end.socket_v4(0) }, resident)?;
        let place = Place::here().cgroup(&server).netns(&server_netns);
        let tcp = Victim::start(TcpServe { bind: server_end.socket_v4(0) }, place)?;
        let echo = Victim::start(UdpEcho { bind: server_end.socket_v4(0) }, place)?;
        Ok(Self {
            _resident: resident,
            tcp,
            echo,
            client,
            neighbour,
            server,
            client_netns,
            server_netns,
            client_end,
            server_end,
        })
    }

    /// Where a process of the client, or of its neighbour, runs.
    pub fn at_client<'a>(&'a self, cgroup: &'a TestCgroup) -> Place<'a> {
        Place::here().cgroup(cgroup).netns(&self.client_netns)
    }

    /// From `cgroup`, the client's or its neighbour's, to the server.
    pub fn route<'a>(&'a self, cgroup: &'a TestCgroup) -> Route<'a> {
        Route {
            client: self.at_client(cgroup),
            server: Place::here().cgroup(&self.server).netns(&self.server_netns),
            address: self.server_end.socket_v4(0),
            tcp: self.tcp.address(),
        }
    }

    /// Where the server accepts connections.
    pub fn tcp_port(&self) -> u16 {
        self.tcp.address().port()
    }

    /// Where the server sends every datagram back.
    pub fn echo(&self) -> SocketAddr {
        self.echo.address()
    }

    /// The network between the two, as a fault names it.
    pub fn network(&self) -> String {
        let [a, b, c, _] = self.server_end.v4.octets();
        format!("{a}.{b}.{c}.0/24")
    }
}
