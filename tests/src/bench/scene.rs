//! Two hosts with a wire between them, and a courier that sends from one to the other.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Shared,
    netns::{End, TestNetns},
    process::{Place as ProcessPlace, Process},
};
use serde::de::DeserializeOwned;

use crate::courier::{BATCH, Order, Place, Ready, Route, Timed};

/// How long a measurement may take on a machine that does other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The surroundings of all experiments. Dropping it takes everything away.
pub struct Scene {
    pub sender: TestCgroup,
    pub receiver: TestCgroup,
    /// For a sender beside the target, in the same network namespace.
    pub bystander: TestCgroup,
    /// Empty, to find out on what the kernel can do.
    pub probe: TestCgroup,
    sender_netns: TestNetns,
    receiver_netns: TestNetns,
    to: End,
    _shared: Shared,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let shared = Shared::acquire()?;
        let (sender_netns, receiver_netns) = (TestNetns::new()?, TestNetns::new()?);
        let (_, to) = sender_netns.veth(&receiver_netns, 0)?;
        Ok(Self {
            sender: TestCgroup::new(&shared, "sender")?,
            receiver: TestCgroup::new(&shared, "receiver")?,
            bystander: TestCgroup::new(&shared, "bystander")?,
            probe: TestCgroup::new(&shared, "probe")?,
            sender_netns,
            receiver_netns,
            to,
            _shared: shared,
        })
    }

    /// Starts a courier that sends from `cgroup`.
    pub fn courier(&self, cgroup: &TestCgroup) -> Result<Courier> {
        let route = Route {
            sender: Place { cgroup: cgroup.path().into(), netns: self.sender_netns.path() },
            receiver: Place {
                cgroup: self.receiver.path().into(),
                netns: self.receiver_netns.path(),
            },
            to: self.to.socket_v4(0),
        };
        Courier::start(&route)
    }

    /// Where the target lives.
    pub fn sender_place(&self) -> ProcessPlace<'_> {
        ProcessPlace::here().cgroup(&self.sender).netns(&self.sender_netns)
    }

    pub fn receiver_place(&self) -> ProcessPlace<'_> {
        ProcessPlace::here().cgroup(&self.receiver).netns(&self.receiver_netns)
    }

    /// The receiver's, with a port of the kernel's choice.
    pub fn address(&self) -> SocketAddr {
        self.to.socket_v4(0)
    }

    /// A netem on what the sender sends, until the guard is dropped.
    pub fn netem(&self, options: &str) -> Result<Netem<'_>> {
        self.tc(&format!("qdisc add dev {} root netem {options}", self.to.interface))?;
        Ok(Netem { scene: self })
    }

    fn tc(&self, arguments: &str) -> Result<()> {
        let mut command = self.sender_netns.command("tc");
        let output = command
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .output()
            .context("run tc (package iproute2)")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tc {arguments}: {}", complaint.trim());
        Ok(())
    }

    /// Runs `iptables` in the receiver's namespace.
    pub fn iptables(&self, arguments: &str) -> Result<()> {
        let mut command = self.receiver_netns.command("iptables");
        let output = command
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .output()
            .context("run iptables (package iptables)")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "iptables {arguments}: {}", complaint.trim());
        Ok(())
    }
}

/// Takes the netem away.
pub struct Netem<'s> {
    scene: &'s Scene,
}

impl Drop for Netem<'_> {
    fn drop(&mut self) {
        let device = &self.scene.to.interface;
        if let Err(error) = self.scene.tc(&format!("qdisc del dev {device} root")) {
            eprintln!("a netem was left behind: {error:#}");
        }
    }
}

/// A running [courier](crate::courier).
pub struct Courier {
    process: Process,
    pub ready: Ready,
}

impl Courier {
    fn start(route: &Route) -> Result<Self> {
        let program = std::env::current_exe().context("find the benchmark's own path")?;
        let mut command = Command::new(program);
        command.arg("courier").arg(serde_json::to_string(route).context("write the route")?);
        let process = Process::spawn(command, ProcessPlace::here())?;
        let ready = answer(&process)?;
        Ok(Self { process, ready })
    }

    /// Sends batches of datagrams; of each, all must arrive, or none if they `get_lost`.
    pub fn send(&mut self, batches: u32, get_lost: bool) -> Result<f64> {
        let Timed { nanoseconds, arrived } = self.order(Order::Send { batches })?;
        let expected = if get_lost { 0 } else { u64::from(batches) * u64::from(BATCH) };
        ensure!(arrived == expected, "{arrived} datagrams arrived instead of {expected}");
        Ok(nanoseconds)
    }

    /// Connects in batches; all must be refused.
    pub fn connect(&mut self, batches: u32) -> Result<f64> {
        Ok(self.order(Order::Connect { batches })?.nanoseconds)
    }

    fn order(&mut self, order: Order) -> Result<Timed> {
        let mut line = serde_json::to_string(&order).context("write an order")?;
        line.push('\n');
        self.process.write(line.as_bytes())?;
        answer(&self.process)
    }
}

fn answer<T: DeserializeOwned>(process: &Process) -> Result<T> {
    let line = process.line(PATIENCE).context("wait for the courier")?;
    serde_json::from_str(&line).with_context(|| format!("the courier said {line:?}"))
}
