//! The attachment points that rules act through.

use std::fmt;

use chaos_ebpf_common::event::EventKind;
use serde::{Deserialize, Serialize};

/// One kind of attachment point. The kernel version is the first that has all that we use of it;
/// whether a kernel really does is found by trying ([`super::KernelFeatures`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// Packets that leave a socket of the target; a link from 5.7.
    #[serde(rename = "cgroup_skb/egress")]
    CgroupSkbEgress,
    /// Packets about to enter a socket of the target; a link from 5.7.
    #[serde(rename = "cgroup_skb/ingress")]
    CgroupSkbIngress,
    /// `connect()` of an IPv4 socket; any errno from 5.18 (`bpf_set_retval`), as below.
    #[serde(rename = "cgroup/connect4")]
    Connect4,
    /// `connect()` of an IPv6 socket, also to an IPv4-mapped address.
    #[serde(rename = "cgroup/connect6")]
    Connect6,
    #[serde(rename = "cgroup/bind4")]
    Bind4,
    #[serde(rename = "cgroup/bind6")]
    Bind6,
    /// A UDP datagram to an IPv4 address named in the call, also by an IPv6 socket.
    #[serde(rename = "cgroup/sendmsg4")]
    SendMsg4,
    #[serde(rename = "cgroup/sendmsg6")]
    SendMsg6,
    #[serde(rename = "cgroup/sock_create")]
    SockCreate,
    #[serde(rename = "cgroup/setsockopt")]
    SetSockopt,
    #[serde(rename = "cgroup/getsockopt")]
    GetSockopt,
    /// Frames that leave an interface in the target's network namespace; from 6.6.
    #[serde(rename = "tcx/egress")]
    TcxEgress,
    /// Frames that arrive at an interface in the target's network namespace; from 6.6.
    #[serde(rename = "tcx/ingress")]
    TcxIngress,
    /// The same frames by a filter, from 4.5, where there is no tcx. A filter stays when the agent is
    /// killed, and acts no longer than the lease.
    #[serde(rename = "clsact/egress")]
    ClsactEgress,
    #[serde(rename = "clsact/ingress")]
    ClsactIngress,
}

impl Hook {
    /// Every hook, in the order of declaration.
    pub const ALL: [Self; HOOKS.len()] = {
        let mut all = [Self::CgroupSkbEgress; HOOKS.len()];
        let mut at = 0;
        while at < HOOKS.len() {
            all[at] = HOOKS[at].hook;
            at += 1;
        }
        all
    };

    /// The one that is declared last.
    const LAST: Self = Self::ClsactIngress;

    fn row(self) -> &'static Row {
        &HOOKS[self as usize]
    }

    /// As libbpf names the section, which is what `bpftool` users know.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The program in the BPF object that serves this hook.
    pub fn program(self) -> &'static str {
        self.row().program
    }

    /// The kind of event that the hook hands to the gate.
    pub fn event_kind(self) -> EventKind {
        self.row().event
    }

    /// Whether it is attached to interfaces of a network namespace; otherwise to a cgroup.
    pub fn is_of_interfaces(self) -> bool {
        matches!(self.event_kind(), EventKind::FrameEgress | EventKind::FrameIngress)
    }

    /// Whether it is a filter of a `clsact` queueing discipline.
    pub fn is_filter(self) -> bool {
        matches!(self, Self::ClsactEgress | Self::ClsactIngress)
    }

    /// The hook that does the same where this one is missing.
    pub fn fallback(self) -> Option<Self> {
        self.row().fallback
    }
}

/// What is known of a hook.
struct Row {
    hook: Hook,
    name: &'static str,
    program: &'static str,
    event: EventKind,
    fallback: Option<Hook>,
}

const fn row(
    hook: Hook,
    name: &'static str,
    program: &'static str,
    event: EventKind,
    fallback: Option<Hook>,
) -> Row {
    Row { hook, name, program, event, fallback }
}

/// A row for each hook, in the order of declaration.
#[rustfmt::skip]
const HOOKS: [Row; 15] = [
    row(Hook::CgroupSkbEgress, "cgroup_skb/egress", "skb_egress", EventKind::PacketEgress, None),
    row(Hook::CgroupSkbIngress, "cgroup_skb/ingress", "skb_ingress", EventKind::PacketIngress, None),
    row(Hook::Connect4, "cgroup/connect4", "connect4", EventKind::Connect, None),
    row(Hook::Connect6, "cgroup/connect6", "connect6", EventKind::Connect, None),
    row(Hook::Bind4, "cgroup/bind4", "bind4", EventKind::Bind, None),
    row(Hook::Bind6, "cgroup/bind6", "bind6", EventKind::Bind, None),
    row(Hook::SendMsg4, "cgroup/sendmsg4", "sendmsg4", EventKind::SendTo, None),
    row(Hook::SendMsg6, "cgroup/sendmsg6", "sendmsg6", EventKind::SendTo, None),
    row(Hook::SockCreate, "cgroup/sock_create", "sock_create", EventKind::Socket, None),
    row(Hook::SetSockopt, "cgroup/setsockopt", "setsockopt", EventKind::SetSockopt, None),
    row(Hook::GetSockopt, "cgroup/getsockopt", "getsockopt", EventKind::GetSockopt, None),
    row(Hook::TcxEgress, "tcx/egress", "tcx_egress", EventKind::FrameEgress, Some(Hook::ClsactEgress)),
    row(Hook::TcxIngress, "tcx/ingress", "tcx_ingress", EventKind::FrameIngress, Some(Hook::ClsactIngress)),
    row(Hook::ClsactEgress, "clsact/egress", "tcx_egress", EventKind::FrameEgress, None),
    row(Hook::ClsactIngress, "clsact/ingress", "tcx_ingress", EventKind::FrameIngress, None),
];

const _: () = {
    assert!(HOOKS.len() == Hook::LAST as usize + 1, "each hook has a row");
    let mut at = 0;
    while at < HOOKS.len() {
        assert!(HOOKS[at].hook as usize == at, "rows are in the order of declaration");
        at += 1;
    }
};

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chaos_ebpf_common::object::{
        LINE_ENTER, LINE_RETURN, NEW_NAMESPACE, PROGRAMS, QUEUE_ENTER, QUEUE_LEAVE, QUEUE_RETURN,
    };

    use super::*;

    #[test]
    fn every_program_of_the_object_serves_one_hook_and_its_fallback() {
        let served: BTreeSet<&str> = Hook::ALL.into_iter().map(Hook::program).collect();
        // The others are attached to kernel functions, for calls that have no hook, and to devices of
        // our own; and one decides nothing.
        let of_others =
            [LINE_ENTER, LINE_RETURN, QUEUE_ENTER, QUEUE_LEAVE, QUEUE_RETURN, NEW_NAMESPACE];
        let of_hooks = PROGRAMS
            .into_iter()
            .filter(|(name, section)| *section != "fentry" && !of_others.contains(name));
        assert_eq!(served, of_hooks.map(|(name, _)| name).collect());
        let fallbacks: Vec<Hook> = Hook::ALL.into_iter().filter_map(Hook::fallback).collect();
        assert_eq!(served.len(), Hook::ALL.len() - fallbacks.len());
        for hook in Hook::ALL {
            let Some(fallback) = hook.fallback() else { continue };
            assert_eq!(
                (fallback.program(), fallback.event_kind()),
                (hook.program(), hook.event_kind())
            );
        }
    }

    #[test]
    fn serde_prints_and_reads_the_name() {
        for hook in Hook::ALL {
            let json = serde_json::to_value(hook).unwrap();
            assert_eq!(json, hook.name());
            assert_eq!(serde_json::from_value::<Hook>(json).unwrap(), hook);
        }
    }

    #[test]
    fn all_is_all_and_every_kind_has_a_hook() {
        assert!(Hook::ALL.is_sorted_by(|a, b| a < b));
        // Calls by number come from backends, which are no attachment points of a cgroup.
        for kind in EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Call) {
            assert!(Hook::ALL.iter().any(|hook| hook.event_kind() == kind), "{kind:?}");
        }
    }
}
