//! Clauses that have to fit the verb, the target and the terms.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use chaos_ebpf_common::MAX_PREFIXES;
use ipnet::IpNet;

use super::{PlannedRule, Scope, Terms, prefix::Prefix, refusal::Objection};
use crate::fault::{Fault, HowOften, Protocol, Unit};

/// Whether the clauses make sense for a verb that this version does.
pub(super) fn check(fault: &Fault, scope: &Scope) -> Result<(), Objection> {
    let verb = fault.verb.word();
    if fault.under.is_some() {
        return Err(Objection::new(format!("`under` chooses files, and `{verb}` acts on traffic"))
            .remedy("leave `under` out"));
    }
    check_container(fault, scope)?;
    check_unit(fault)?;
    let on_packets = fault.verb.acts_on_packets();
    if let Some(direction) = fault.direction
        && !on_packets
    {
        return Err(Objection::new(format!(
            "a call has no direction: `{direction}` is for packets"
        ))
        .remedy(format!("leave `{direction}` out")));
    }
    let has_ports = fault.peer.as_ref().is_some_and(|peer| !peer.ports.is_empty());
    if has_ports && fault.protocol == Some(Protocol::Icmp) {
        return Err(Objection::new("icmp has no ports").remedy("leave `port` or `icmp` out"));
    }
    // Zero means "no limit" to the kernel side: it must never get there as a limit.
    if fault.at_most == Some(0) || fault.at_most_per_second == Some(0) {
        return Err(Objection::new("`at most 0` would never do anything")
            .remedy("write `shadow` to count without acting"));
    }
    Ok(())
}

fn check_container(fault: &Fault, scope: &Scope) -> Result<(), Objection> {
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

fn check_unit(fault: &Fault) -> Result<(), Objection> {
    let on_packets = fault.verb.acts_on_packets();
    let verb = fault.verb.word();
    match fault.chance.of {
        Unit::Calls if on_packets => {
            Err(Objection::new(format!("`of calls`: `{verb}` acts on packets"))
                .remedy("write `of packets` or `of flows`"))
        }
        Unit::Packets if !on_packets => {
            Err(Objection::new(format!("`of packets`: `{verb}` acts on calls"))
                .remedy("write `of calls`"))
        }
        Unit::Flows if !on_packets => {
            Err(Objection::new("`of flows`: the flow is not known yet when the call is made")
                .remedy("write `of calls`"))
        }
        Unit::Flows if matches!(fault.chance.how, HowOften::EveryNth(_)) => {
            Err(Objection::new("`every` counts single events; flows are not counted")
                .remedy("write a percentage `of flows`, or `every` without `of flows`"))
        }
        Unit::Packets | Unit::Flows | Unit::Calls => Ok(()),
    }
}

/// How long the fault lasts.
pub(super) fn duration(fault: &Fault, terms: &Terms) -> Result<Duration, Objection> {
    match fault.duration {
        None => Ok(terms.default_duration.min(terms.longest)),
        Some(wanted) if wanted <= terms.longest => Ok(wanted),
        Some(wanted) => Err(Objection::new(format!(
            "`for {wanted:?}` is longer than the longest allowed, {:?}",
            terms.longest
        ))
        .remedy(format!("write `for {:?}` or less", terms.longest))),
    }
}

/// The exempt addresses that the fault leaves alone, and those that it touches because it names
/// them. IPv4-mapped addresses become IPv4, as they are in events.
pub(super) fn exemptions(fault: &Fault, exempt: &[IpAddr]) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    exempt.iter().map(IpAddr::to_canonical).partition(|address| {
        !fault.peer.as_ref().is_some_and(|peer| peer.networks.contains(&IpNet::from(*address)))
    })
}

/// What is left of a rule set's tables. Prefixes that rules share are counted for each of them.
pub(super) struct Room {
    v4: usize,
    v6: usize,
    ports: usize,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { v4: MAX_PREFIXES, v6: MAX_PREFIXES, ports: MAX_PREFIXES }
    }

    /// Takes what the rule needs; nothing when there is not enough.
    pub(super) fn take(&mut self, rule: &PlannedRule) -> Result<(), Objection> {
        let peer = rule.fault.peer.as_ref();
        let addresses = || {
            peer.iter()
                .flat_map(|peer| peer.networks.iter().map(IpNet::addr))
                .chain(rule.exempt.iter().copied())
        };
        let left = |room: usize, needed: usize, what: &str| {
            room.checked_sub(needed).ok_or_else(|| {
                Objection::new(format!(
                    "the fault needs {needed} {what} prefixes, and of {MAX_PREFIXES} only {room} \
                     are left"
                ))
                .remedy("use fewer and larger networks or port ranges")
            })
        };
        let ports = peer
            .iter()
            .flat_map(|peer| &peer.ports)
            .map(|range| Prefix::ports(range.first, range.last).len())
            .sum();
        *self = Self {
            v4: left(self.v4, addresses().filter(IpAddr::is_ipv4).count(), "IPv4")?,
            v6: left(self.v6, addresses().filter(IpAddr::is_ipv6).count(), "IPv6")?,
            ports: left(self.ports, ports, "port")?,
        };
        Ok(())
    }
}
