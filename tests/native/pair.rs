//! The surroundings of most tests.

use std::{net::SocketAddr, process::Command};

use anyhow::Result;
use chaos_tests::{
    cgroup::TestCgroup,
    machine::{Claim, Shared},
    netns::{End, TestNetns},
    process::{Place, Process},
};

/// Two hosts, each a namespace and a cgroup, with a wire between them. In each cgroup one process
/// that does nothing lives from the beginning, as a pod's does: a target with processes has
/// network namespaces.
pub struct Pair<C: Claim = Shared> {
    _idle: [Process; 2],
    pub client_cgroup: TestCgroup,
    pub server_cgroup: TestCgroup,
    pub client_netns: TestNetns,
    pub server_netns: TestNetns,
    pub server_end: End,
    pub claim: C,
}

impl Pair {
    pub fn new() -> Result<Self> {
        Self::with(Shared::acquire()?)
    }
}

impl<C: Claim> Pair<C> {
    pub fn with(claim: C) -> Result<Self> {
        let (client_netns, server_netns) = (TestNetns::new()?, TestNetns::new()?);
        let (_, server_end) = client_netns.veth(&server_netns, 0)?;
        let client_cgroup = TestCgroup::new(&claim, "client")?;
        let server_cgroup = TestCgroup::new(&claim, "server")?;
        let idle = [
            idle(Place::here().cgroup(&client_cgroup).netns(&client_netns))?,
            idle(Place::here().cgroup(&server_cgroup).netns(&server_netns))?,
        ];
        Ok(Self {
            _idle: idle,
            client_cgroup,
            server_cgroup,
            client_netns,
            server_netns,

            server_end,
            claim,
        })
    }

    pub fn client(&self) -> Place<'_> {
        Place::here().cgroup(&self.client_cgroup).netns(&self.client_netns)
    }

    pub fn server(&self) -> Place<'_> {
        Place::here().cgroup(&self.server_cgroup).netns(&self.server_netns)
    }

    /// The server's addresses of both families, with ports of the kernel's choice.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        [self.server_end.socket_v4(0), self.server_end.socket_v6(0)]
    }
}

/// A process that waits for its standard input to close.
pub fn idle(place: Place<'_>) -> Result<Process> {
    Process::spawn(Command::new("cat"), place)
}
