//! Clauses that have to fit the target and the terms.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use chaos_ebpf_common::{
    MAX_PREFIXES, flow_numbers::MAX_NUMBERED, gate::numbered_in_window, latencies::MAX_TABLES,
    rule::Trigger,
};
use chaos_fault::{Fault, Peer, print_duration};
use ipnet::IpNet;

use super::{
    PlannedRule, Scope, Terms,
    compile::{exempt_networks, trigger},
    dns_name,
    prefix::Prefix,
    refusal::Objection,
};

/// Whether the fault is for this target.
pub(super) fn container(fault: &Fault, scope: &Scope) -> Result<(), Objection> {
    let Some(container) = &fault.container else {
        return Ok(());
    };
    match scope {
        Scope::Container(name) if name == container => Ok(()),
        Scope::Container(name) => Err(Objection::new(format!(
            "`in container {container}`: the target is the container `{name}`"
        ))),
        Scope::Pod => Err(Objection::new(format!(
            "`in container {container}`: no such container is known in the target pod"
        ))
        .remedy("use the name of a container of the pod, or leave `in container` out")),
        Scope::Whole => {
            Err(Objection::new(format!("`in container {container}`: the target is not a pod"))
                .remedy("leave `in container` out: the fault is for the whole target"))
        }
    }
}

/// Whether it is known where the pods are that the fault names.
pub(super) fn pods(fault: &Fault) -> Result<(), Objection> {
    let unknown = fault.pods().find(|(_, addresses)| addresses.is_empty());
    let Some((pod, _)) = unknown else { return Ok(()) };
    Err(Objection::new(format!(
        "`pod {pod}`: where pods are is known to the agent of a node, for faults in annotations"
    ))
    .remedy("write the pod's address, such as `to 10.244.0.7`"))
}

/// Whether somebody has put addresses in place of the names of an experiment.
pub(super) fn names(fault: &Fault) -> Result<(), Objection> {
    let Some(name) = fault.names().next() else { return Ok(()) };
    Err(Objection::new(format!("`@{name}`: such names are known in an Experiment alone"))
        .remedy("write addresses, such as `to 10.96.0.12`, or put the fault into an Experiment"))
}

/// Whether somebody looks after the guard that the fault is to have.
pub(super) fn guard(fault: &Fault, terms: &Terms) -> Result<(), Objection> {
    if !fault.guarded || terms.has_guard {
        return Ok(());
    }
    Err(Objection::new("`guarded`: the guard is known to the agent of a Kubernetes node alone")
        .remedy("leave `guarded` out: `for` and `until` end the fault"))
}

/// Whether the fault's end lies ahead.
pub(super) fn end(fault: &Fault, terms: &Terms) -> Result<(), Objection> {
    let passed = fault.until.zip(terms.now).filter(|(until, now)| until <= now);
    let Some((until, now)) = passed else { return Ok(()) };
    let ago = print_duration(Duration::from_secs(
        now.duration_since(until).as_secs().max(1).unsigned_abs(),
    ));
    Err(Objection::new(format!("`until {until}` passed {ago} ago"))
        .remedy("write a moment that lies ahead, or leave `until` out: `for` ends the fault, too"))
}

/// How long the fault lasts.
pub(super) fn duration(fault: &Fault, terms: &Terms) -> Result<Duration, Objection> {
    let longest = print_duration(terms.longest);
    match fault.duration {
        None => Ok(terms.default_duration.min(terms.longest)),
        Some(wanted) if wanted <= terms.longest => Ok(wanted),
        Some(wanted) => Err(Objection::new(format!(
            "`for {}` is longer than the longest allowed, {longest}",
            print_duration(wanted)
        ))
        .remedy(format!("write `for {longest}` or less, or allow more by `--longest` of `run`, `inject` or the agent"))),
    }
}

/// The exempt addresses that the fault leaves alone, and those that it touches because it names
/// them. IPv4-mapped addresses become IPv4, as they are in events.
pub(super) fn exemptions(fault: &Fault, exempt: &[IpAddr]) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    exempt.iter().map(IpAddr::to_canonical).partition(|address| {
        let names = |peer: &Peer| peer.all_networks().any(|net| net == IpNet::from(*address));
        !fault.peer.as_ref().is_some_and(names)
    })
}

/// What is left of a rule set's tables. Prefixes that rules share are counted for each of them.
pub(super) struct Room {
    v4: usize,
    v6: usize,
    ports: usize,
    latencies: usize,
    numbered_flows: usize,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            v4: MAX_PREFIXES,
            v6: MAX_PREFIXES,
            ports: MAX_PREFIXES,
            latencies: MAX_TABLES,
            numbered_flows: MAX_NUMBERED,
        }
    }

    /// Takes what the rule needs; nothing when there is not enough.
    pub(super) fn take(&mut self, rule: &PlannedRule) -> Result<(), Objection> {
        let peer = rule.fault.peer.as_ref();
        let addresses = || {
            peer.iter()
                .flat_map(|peer| peer.all_networks().map(|network| network.addr()))
                .chain(exempt_networks(rule).map(|network| network.addr()))
        };
        let left = |room: usize, needed: usize, what: &str| {
            room.checked_sub(needed).ok_or_else(|| {
                let room = if room == MAX_PREFIXES {
                    format!("a text has room for {room}")
                } else {
                    format!("of {MAX_PREFIXES} only {room} are left")
                };
                Objection::new(format!("the fault needs {needed} {what} prefixes, and {room}"))
                    .remedy("use fewer and larger networks or port ranges")
            })
        };
        let ports = peer
            .iter()
            .flat_map(|peer| peer.ports.iter().copied())
            .chain(dns_name::ports(&rule.fault))
            .chain(rule.fault.except.iter().flat_map(|except| except.ports.iter().copied()))
            .map(|range| Prefix::ports(range.first, range.last).len())
            .sum();
        let tables = usize::from(rule.latencies().is_some());
        let latencies = self.latencies.checked_sub(tables).ok_or_else(|| {
            Objection::new(format!(
                "a text takes at most {MAX_TABLES} faults with several latencies"
            ))
            .remedy("write jitter instead, or join the lists")
        })?;
        let numbered = numbered_flows(&rule.fault);
        let numbered_flows = self.numbered_flows.checked_sub(numbered).ok_or_else(|| {
            let room = match self.numbered_flows {
                MAX_NUMBERED => format!("a text has room for {MAX_NUMBERED}"),
                left => format!("of {MAX_NUMBERED} only {left} are left"),
            };
            Objection::new(format!("the fault counts off {numbered} flows, and {room}"))
                .remedy("write a chance, such as `20% of flows`, or a smaller number")
        })?;
        *self = Self {
            latencies,
            numbered_flows,
            v4: left(self.v4, addresses().filter(IpAddr::is_ipv4).count(), "IPv4")?,
            v6: left(self.v6, addresses().filter(IpAddr::is_ipv6).count(), "IPv6")?,
            ports: left(self.ports, ports, "port")?,
        };
        Ok(())
    }
}

/// How many flows have to be told apart by their numbers.
fn numbered_flows(fault: &Fault) -> usize {
    let (Trigger::FlowWindow, first, last) = trigger(fault) else { return 0 };
    numbered_in_window(first, last) as usize
}
