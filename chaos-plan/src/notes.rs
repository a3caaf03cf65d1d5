//! What a plan promises, and what it does not.

use std::{collections::BTreeSet, net::IpAddr};

use chaos_ebpf_common::rule::{Action, Stage};
use chaos_fault::{Fault, HowOften, Protocol, Unit, Verb};

use super::{
    DelayLine, Hook, KernelFeatures, PlannedRule, calls::Hooked, calls_by_number,
    mechanism::Mechanism,
};

/// One sentence for each thing to know about a rule. `named` are the exempt addresses that the
/// fault names and therefore touches.
pub(super) fn of_rule(
    fault: &Fault,
    mechanism: &Mechanism,
    named: &BTreeSet<IpAddr>,
    features: &KernelFeatures,
) -> Vec<String> {
    let mut notes: Vec<&str> = Vec::new();
    if fault.shadow {
        notes.push("shadow: hits are counted and nothing is done");
    }
    match mechanism.action {
        Action::Drop => notes.extend(of_drop(mechanism)),
        Action::Corrupt => notes.extend(of_corrupt(fault)),
        Action::CorruptSilently => notes.extend(of_silent(fault)),
        Action::Duplicate => notes.extend(of_duplicate(fault)),
        Action::Delay | Action::Reorder | Action::Limit => {
            notes.extend(of_hold(fault, mechanism));
        }
        Action::NxDomain | Action::ServFail | Action::Refused | Action::Silence => {}
        Action::Reset => notes.extend([
            "connecting fails with ECONNREFUSED; an established connection is reset for both ends: \
             ECONNRESET",
            "segments that are a RST themselves are left alone and counted as unfit",
        ]),
        Action::Fail => notes.extend(of_hooked_calls(fault, mechanism)),
        Action::Kill => notes.push("SIGKILL: the whole process dies before the call does anything"),
    }
    if fault.verb.dns_name().is_some() {
        notes.extend([
            "questions of any type over UDP that leave the target; over TCP, TLS or HTTPS they pass",
            "what a resolver has in its cache it does not ask for",
        ]);
    }
    if could_mean_pings(fault) {
        notes.push(
            "a ping from outside is answered by the kernel, not by the target, and is left alone",
        );
    }
    if mechanism.hooks.iter().any(|hook| hook.is_filter()) {
        notes.push(
            "by a filter, as this kernel has no links to interfaces: when the agent is killed it ends with \
             the lease, not at once",
        );
    }
    if fault.chance.of == Unit::Flows {
        notes.push(
            "a flow is hit as a whole, in both directions; later fragments are let through, as \
             their flow is not known",
        );
    }
    if let (HowOften::Window { .. }, Unit::Flows) = (fault.chance.how, fault.chance.of) {
        notes.push(
            "flows are numbered in the order in which they are first seen; one with the same \
             addresses and ports as one before it has its number",
        );
    }
    let can_be_unfit = matches!(mechanism.action, Action::CorruptSilently | Action::Reset);
    if is_window(fault) && can_be_unfit {
        notes.push("packets that nothing can be done to have a number in the window, too");
    }
    let mut notes: Vec<String> = notes.into_iter().map(str::to_owned).collect();
    notes.extend(calls_by_number::notes(fault, &mechanism.calls, features));
    notes.extend(named.iter().map(|address| {
        format!("{address} is otherwise left alone and is touched because the fault names it")
    }));
    notes
}

/// One sentence for each thing to know about the rules together.
pub(super) fn of_plan(rules: &[PlannedRule]) -> Vec<String> {
    let mut notes = Vec::new();
    let acting = || rules.iter().filter(|rule| !rule.fault.shadow);
    let stages: BTreeSet<Option<Stage>> = acting().map(|rule| rule.action.stage()).collect();
    if stages.len() < acting().count() {
        notes.push("rules are asked in the order written, and the first that hits decides".into());
    }
    if stages.iter().flatten().count() > 1 {
        notes.push(
            "a frame is answered, damaged, copied and held in this order, each by its own rules"
                .into(),
        );
    }
    let is_behind = |(at, rule): (usize, &PlannedRule)| {
        let mut before = rules[..at].iter().filter(|one| !one.fault.shadow);
        is_window(&rule.fault) && before.any(|one| one.action.stage() == rule.action.stage())
    };
    if rules.iter().enumerate().any(is_behind) {
        notes.push("a window counts what the rules before it have left".into());
    }
    let exempt: BTreeSet<&IpAddr> = rules.iter().flat_map(|rule| &rule.exempt).collect();
    notes.extend(
        exempt
            .iter()
            .map(|address| format!("traffic from or to {address} is left alone, unless named")),
    );
    notes
}

/// Whether it hits events by their numbers.
fn is_window(fault: &Fault) -> bool {
    matches!(fault.chance.how, HowOften::Window { .. })
}

/// Whether somebody may try the fault with ping(8) from outside.
fn could_mean_pings(fault: &Fault) -> bool {
    fault.verb.acts_on_packets()
        && fault.verb.dns_name().is_none()
        && matches!(fault.protocol, None | Some(Protocol::Icmp))
        && fault.peer.as_ref().is_none_or(|peer| peer.ports.is_empty())
}

fn of_drop(mechanism: &Mechanism) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if mechanism.hooks.contains(&Hook::CgroupSkbEgress) {
        notes.push("egress: the packet is lost silently, the sender gets no error");
    }
    if mechanism.hooks.contains(&Hook::CgroupSkbIngress) {
        notes.push("ingress: the packet is lost before the socket, captures still show it");
    }
    notes
}

fn of_corrupt(fault: &Fault) -> Vec<&'static str> {
    let mut notes = vec!["IPv4: the receiver discards the packet by its header checksum"];
    if matches!(fault.protocol, None | Some(Protocol::Udp)) {
        notes.push("IPv6 UDP: the receiver discards the packet by its UDP checksum");
    }
    notes.push(match fault.protocol {
        Some(Protocol::Udp) => "segmentation-offloaded packets: equals a drop",
        Some(Protocol::Icmp) => "IPv6 ICMP: equals a drop",
        Some(Protocol::Tcp) => "IPv6 TCP and segmentation-offloaded packets: equals a drop",
        None => "IPv6 other than UDP, and segmentation-offloaded packets: equals a drop",
    });
    notes
}

fn of_silent(fault: &Fault) -> Vec<&'static str> {
    let mut notes = vec![
        "one bit of the payload is flipped and the checksum made valid: the application reads \
         wrong bytes",
        "packets without payload are left alone and counted as unfit",
    ];
    if fault.seed.is_some() {
        notes.push(
            "seed: the bits that are flipped are not those that 0.1.0 chose with the same seed",
        );
    }
    if fault.protocol.is_none() {
        notes.push("TCP and UDP only: nothing else can be corrupted silently");
    }
    notes
}

fn of_hold(fault: &Fault, mechanism: &Mechanism) -> Vec<&'static str> {
    let mut notes = vec![match mechanism.line {
        Some(DelayLine::Tap) => {
            "by the delay line tap: frames wait in the agent, and pass unheld when it does not answer for \
             200 ms"
        }
        Some(DelayLine::Fq) | None => {
            "by the delay line fq: frames wait in a queue of the kernel, which nobody else uses"
        }
    }];
    let is_both = fault.directions().len() > 1;
    if mechanism.action == Action::Limit {
        notes.push(if matches!(fault.verb, Verb::Limit { queue: Some(_), .. }) {
            "what would wait for longer than the queue is lost, and counted as such"
        } else {
            "what would wait for more than a second is lost, and counted as such"
        });
        if matches!(fault.verb, Verb::Limit { per_flow: true, .. }) {
            notes.push("each flow has the rate to itself; later fragments share one");
        }
        if is_both {
            notes.push("both directions: each has the rate to itself");
        }
    } else if is_both {
        notes.push("both directions: a round trip is held twice");
    }
    if mechanism.hooks.contains(&Hook::TcxIngress) || mechanism.hooks.contains(&Hook::ClsactIngress)
    {
        notes.push("ingress: unicast TCP and UDP; captures show a held packet twice");
    }
    notes
}

fn of_duplicate(fault: &Fault) -> Vec<&'static str> {
    let mut notes =
        vec!["the copy goes right in front of the packet, which it is counted apart from"];
    if matches!(fault.protocol, None | Some(Protocol::Tcp)) {
        notes.push("TCP: the receiver's kernel discards the copy, the application does not see it");
    }
    notes
}

fn of_hooked_calls(fault: &Fault, mechanism: &Mechanism) -> Vec<&'static str> {
    if mechanism.hooks.is_empty() {
        return Vec::new();
    }
    let Verb::Fail { calls, .. } = &fault.verb else {
        return Vec::new();
    };
    let hooked: BTreeSet<Hooked> = calls.iter().filter_map(Hooked::of).collect();
    hooked
        .into_iter()
        .filter_map(|call| match call {
            Hooked::Connect => {
                Some("connect: IPv4 and IPv6 sockets of TCP and UDP, and from kernel 6.1 of ping")
            }
            Hooked::Bind => Some("bind: IPv4 and IPv6 sockets other than raw and ping"),
            Hooked::SendTo => Some(
                "sendto, sendmsg, sendmmsg: UDP sockets that name the address in the call; \
                 connected sockets are not seen",
            ),
            Hooked::Socket => Some("socket: IPv4 and IPv6 sockets"),
            Hooked::SetSockopt | Hooked::GetSockopt if fault.peer.is_some() => Some(
                "setsockopt, getsockopt: `from` is the socket's own address, `to` its connected \
                 peer; where there is none, it counts as 0.0.0.0 or ::",
            ),
            Hooked::GetSockopt => Some("getsockopt: the option has been read when the call fails"),
            Hooked::SetSockopt => None,
        })
        .collect()
}
