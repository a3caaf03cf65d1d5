//! Two hosts with a wire between them, and a courier that sends from one to the other.

use std::{
    fs,
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
    from: End,
    to: End,
    shared: Shared,
}

/// Cgroups that somebody lives in. Dropping it ends the processes, then removes the cgroups.
pub struct Crowd {
    _processes: Vec<Process>,
    pub cgroups: Vec<TestCgroup>,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let shared = Shared::acquire()?;
        let (sender_netns, receiver_netns) = (TestNetns::new()?, TestNetns::new()?);
        let (from, to) = sender_netns.veth(&receiver_netns, 0)?;
        Ok(Self {
            sender: TestCgroup::new(&shared, "sender")?,
            receiver: TestCgroup::new(&shared, "receiver")?,
            bystander: TestCgroup::new(&shared, "bystander")?,
            probe: TestCgroup::new(&shared, "probe")?,
            sender_netns,
            receiver_netns,
            from,
            to,
            shared,
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

    /// Starts one that sends to `cgroup`, which is in the sender's network namespace.
    pub fn courier_to(&self, cgroup: &TestCgroup) -> Result<Courier> {
        let route = Route {
            sender: Place {
                cgroup: self.receiver.path().into(),
                netns: self.receiver_netns.path(),
            },
            receiver: Place { cgroup: cgroup.path().into(), netns: self.sender_netns.path() },
            to: self.from.socket_v4(0),
        };
        Courier::start(&route)
    }

    /// Makes other cgroups, each with a process in the sender's network namespace.
    pub fn crowd(&self, count: usize) -> Result<Crowd> {
        let names = (0..count).map(|number| format!("crowd-{number}"));
        let cgroups: Vec<TestCgroup> =
            names.map(|name| TestCgroup::new(&self.shared, &name)).collect::<Result<_>>()?;
        let idle = |cgroup| {
            let mut command = Command::new("sleep");
            command.arg("infinity");
            Process::spawn(command, ProcessPlace::here().cgroup(cgroup).netns(&self.sender_netns))
        };
        let _processes = cgroups.iter().map(idle).collect::<Result<_>>()?;
        Ok(Crowd { _processes, cgroups })
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

    /// The same, or its IPv6 address.
    pub fn address_of(&self, v6: bool) -> SocketAddr {
        if v6 { self.to.socket_v6(0) } else { self.to.socket_v4(0) }
    }

    /// TCP segments that the sender's host has sent again.
    pub fn sent_again(&self) -> Result<u64> {
        let read = || fs::read_to_string("/proc/thread-self/net/snmp");
        let table = self.sender_netns.run(read)?.context("read the counters")?;
        let mut lines = table.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (lines.next().context("names")?, lines.next().context("values")?);
        let mut columns = names.split(' ').zip(values.split(' '));
        let again = columns.find(|(name, _)| *name == "RetransSegs").context("RetransSegs")?;
        again.1.parse().context("RetransSegs")
    }

    /// A queueing discipline (tc(8)) for what the sender sends, until the guard is dropped.
    pub fn qdisc(&self, options: &str) -> Result<Qdisc<'_>> {
        self.tc(&format!("qdisc add dev {} root {options}", self.to.interface))?;
        Ok(Qdisc { scene: self })
    }

    fn tc(&self, arguments: &str) -> Result<()> {
        run_in(&self.sender_netns, "tc", arguments)
    }

    /// Runs `iptables` in the receiver's namespace.
    pub fn iptables(&self, arguments: &str) -> Result<()> {
        run_in(&self.receiver_netns, "iptables", arguments)
    }
}

/// Runs a program in a namespace; the arguments have spaces between them.
fn run_in(netns: &TestNetns, program: &str, arguments: &str) -> Result<()> {
    let mut command = netns.command(program);
    let output = command
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments}: {}", complaint.trim());
    Ok(())
}

/// Takes it away.
pub struct Qdisc<'s> {
    scene: &'s Scene,
}

impl Drop for Qdisc<'_> {
    fn drop(&mut self) {
        let device = &self.scene.to.interface;
        if let Err(error) = self.scene.tc(&format!("qdisc del dev {device} root")) {
            eprintln!("a queueing discipline was left behind: {error:#}");
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
