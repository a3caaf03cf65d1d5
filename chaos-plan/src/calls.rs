//! `fail CALL` and `kill CALL`: which hooks a system call has, what it can be told apart by, and
//! what answers the calls that have none.

use std::collections::BTreeSet;

use chaos_ebpf_common::rule::Action;
use chaos_fault::{Call, Fault, Peer, Protocol, Side};

use super::{
    Hook, KernelFeatures, Support, calls_by_number,
    mechanism::{Mechanism, missing_hook},
    refusal::Objection,
};

/// A call that some hook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hooked {
    Connect,
    Bind,
    SendTo,
    Socket,
    SetSockopt,
    GetSockopt,
}

impl Hooked {
    pub(super) fn of(call: &Call) -> Option<Self> {
        match call.name() {
            "connect" => Some(Self::Connect),
            "bind" => Some(Self::Bind),
            "sendto" | "sendmsg" | "sendmmsg" => Some(Self::SendTo),
            "socket" => Some(Self::Socket),
            "setsockopt" => Some(Self::SetSockopt),
            "getsockopt" => Some(Self::GetSockopt),
            _ => None,
        }
    }
}

/// The means for all these calls together, or the first of them that cannot be answered as asked.
/// What the kernel can decide by itself goes there; a fault that needs seccomp for one of its calls
/// goes there with all of them. So does one of which the kernel would leave calls alone, if the
/// target is known to have the filter.
pub(super) fn mechanism(
    action: Action,
    calls: &[Call],
    fault: &Fault,
    features: &KernelFeatures,
    has_filter: bool,
) -> Result<Mechanism, Objection> {
    let by_seccomp = || {
        let calls = calls_by_number::by_seccomp(calls, fault, features)?;
        Some(Mechanism { calls, ..Mechanism::of_packets(action, BTreeSet::new()) })
    };
    match in_kernel(action, calls, fault, features) {
        Ok(mechanism)
            if has_filter && !calls_by_number::left_alone(fault, &mechanism.calls).is_empty() =>
        {
            Ok(by_seccomp().unwrap_or(mechanism))
        }
        Ok(mechanism) => Ok(mechanism),
        Err(objection) => by_seccomp().ok_or(objection),
    }
}

fn in_kernel(
    action: Action,
    calls: &[Call],
    fault: &Fault,
    features: &KernelFeatures,
) -> Result<Mechanism, Objection> {
    let families = Families::of(fault.peer.as_ref());
    let mut mechanism = Mechanism::of_packets(action, BTreeSet::new());
    for call in calls {
        // A cgroup hook can fail a call, and cannot send a signal.
        let Some(hooked) = Hooked::of(call).filter(|_| action == Action::Fail) else {
            mechanism.calls.extend(calls_by_number::in_kernel(call, fault, features)?);
            continue;
        };
        check_protocol(call, hooked, fault.protocol)?;
        if let Some(peer) = &fault.peer {
            check_peer(call, hooked, peer)?;
        }
        let hooks = hooks_of(hooked, families);
        let missing = hooks.iter().find_map(|hook| match features.support(*hook) {
            Support::Works => None,
            Support::Missing { reason, remedy } => Some((*hook, reason, remedy)),
        });
        match missing {
            None => mechanism.hooks.extend(hooks),
            Some((hook, reason, remedy)) => {
                let traced = calls_by_number::in_kernel(call, fault, features)
                    .map_err(|_| missing_hook(fault, hook, features, &reason, &remedy))?;
                mechanism.calls.extend(traced);
            }
        }
    }
    mechanism.calls.sort();
    mechanism.calls.dedup();
    Ok(mechanism)
}

fn hooks_of(call: Hooked, families: Families) -> Vec<Hook> {
    // An IPv6 socket can name an IPv4-mapped address. `connect` and `bind` then still pass their
    // IPv6 hooks, while `udpv6_sendmsg` hands over to `udp_sendmsg` before its own:
    // <https://github.com/torvalds/linux/blob/v6.12/net/ipv6/udp.c>
    match call {
        Hooked::Connect if families.v4 => vec![Hook::Connect4, Hook::Connect6],
        Hooked::Connect => vec![Hook::Connect6],
        Hooked::Bind if families.v4 => vec![Hook::Bind4, Hook::Bind6],
        Hooked::Bind => vec![Hook::Bind6],
        Hooked::SendTo => [(families.v4, Hook::SendMsg4), (families.v6, Hook::SendMsg6)]
            .into_iter()
            .filter_map(|(wanted, hook)| wanted.then_some(hook))
            .collect(),
        Hooked::Socket => vec![Hook::SockCreate],
        Hooked::SetSockopt => vec![Hook::SetSockopt],
        Hooked::GetSockopt => vec![Hook::GetSockopt],
    }
}

/// The address families that a fault's networks leave possible.
#[derive(Debug, Clone, Copy)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn of(peer: Option<&Peer>) -> Self {
        let peer = peer.filter(|peer| peer.has_addresses());
        peer.map_or(Self { v4: true, v6: true }, |peer| Self {
            v4: peer.all_networks().any(|network| network.addr().is_ipv4()),
            v6: peer.all_networks().any(|network| network.addr().is_ipv6()),
        })
    }
}

fn check_protocol(
    call: &Call,
    hooked: Hooked,
    protocol: Option<Protocol>,
) -> Result<(), Objection> {
    let name = call.name();
    // Only `udp_sendmsg` and `udpv6_sendmsg` run the hook.
    if hooked == Hooked::SendTo && protocol == Some(Protocol::Tcp) {
        return Err(Objection::new(format!("the kernel's hook for `{name}` sees udp, not tcp"))
            .remedy("`drop egress tcp` loses what is sent"));
    }
    Ok(())
}

fn check_peer(call: &Call, hooked: Hooked, peer: &Peer) -> Result<(), Objection> {
    let name = call.name();
    match hooked {
        Hooked::Bind if peer.side == Side::To => {
            Err(Objection::new("`bind` has no peer: the address in the call is the socket's own")
                .remedy("write `from` for the address that is bound, or only `port N`"))
        }
        Hooked::Connect | Hooked::SendTo if peer.side == Side::From => Err(Objection::new(
            format!("the socket's own address is not known yet when `{name}` is called"),
        )
        .remedy("write `to` for the address that is called")),
        Hooked::Bind
        | Hooked::Connect
        | Hooked::SendTo
        | Hooked::Socket
        | Hooked::SetSockopt
        | Hooked::GetSockopt => Ok(()),
    }
}
