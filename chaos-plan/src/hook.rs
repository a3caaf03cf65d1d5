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
    pub const ALL: [Self; 15] = [
        Self::CgroupSkbEgress,
        Self::CgroupSkbIngress,
        Self::Connect4,
        Self::Connect6,
        Self::Bind4,
        Self::Bind6,
        Self::SendMsg4,
        Self::SendMsg6,
        Self::SockCreate,
        Self::SetSockopt,
        Self::GetSockopt,
        Self::TcxEgress,
        Self::TcxIngress,
        Self::ClsactEgress,
        Self::ClsactIngress,
    ];

    /// As libbpf names the section, which is what `bpftool` users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::CgroupSkbEgress => "cgroup_skb/egress",
            Self::CgroupSkbIngress => "cgroup_skb/ingress",
            Self::Connect4 => "cgroup/connect4",
            Self::Connect6 => "cgroup/connect6",
            Self::Bind4 => "cgroup/bind4",
            Self::Bind6 => "cgroup/bind6",
            Self::SendMsg4 => "cgroup/sendmsg4",
            Self::SendMsg6 => "cgroup/sendmsg6",
            Self::SockCreate => "cgroup/sock_create",
            Self::SetSockopt => "cgroup/setsockopt",
            Self::GetSockopt => "cgroup/getsockopt",
            Self::TcxEgress => "tcx/egress",
            Self::TcxIngress => "tcx/ingress",
            Self::ClsactEgress => "clsact/egress",
            Self::ClsactIngress => "clsact/ingress",
        }
    }

    /// The program in the BPF object that serves this hook.
    pub fn program(self) -> &'static str {
        match self {
            Self::CgroupSkbEgress => "skb_egress",
            Self::CgroupSkbIngress => "skb_ingress",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
            Self::SendMsg4 => "sendmsg4",
            Self::SendMsg6 => "sendmsg6",
            Self::SockCreate => "sock_create",
            Self::SetSockopt => "setsockopt",
            Self::GetSockopt => "getsockopt",
            Self::TcxEgress | Self::ClsactEgress => "tcx_egress",
            Self::TcxIngress | Self::ClsactIngress => "tcx_ingress",
        }
    }

    /// The kind of event that the hook hands to the gate.
    pub fn event_kind(self) -> EventKind {
        match self {
            Self::CgroupSkbEgress => EventKind::PacketEgress,
            Self::CgroupSkbIngress => EventKind::PacketIngress,
            Self::Connect4 | Self::Connect6 => EventKind::Connect,
            Self::Bind4 | Self::Bind6 => EventKind::Bind,
            Self::SendMsg4 | Self::SendMsg6 => EventKind::SendTo,
            Self::SockCreate => EventKind::Socket,
            Self::SetSockopt => EventKind::SetSockopt,
            Self::GetSockopt => EventKind::GetSockopt,
            Self::TcxEgress | Self::ClsactEgress => EventKind::FrameEgress,
            Self::TcxIngress | Self::ClsactIngress => EventKind::FrameIngress,
        }
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
        match self {
            Self::TcxEgress => Some(Self::ClsactEgress),
            Self::TcxIngress => Some(Self::ClsactIngress),
            _ => None,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chaos_ebpf_common::object::{
        LINE_ENTER, LINE_RETURN, PROGRAMS, QUEUE_ENTER, QUEUE_LEAVE, QUEUE_RETURN,
    };

    use super::*;

    #[test]
    fn every_program_of_the_object_serves_one_hook_and_its_fallback() {
        let served: BTreeSet<&str> = Hook::ALL.into_iter().map(Hook::program).collect();
        // The others are attached to kernel functions, for calls that have no hook, and to devices of
        // our own.
        let of_lines = [LINE_ENTER, LINE_RETURN, QUEUE_ENTER, QUEUE_LEAVE, QUEUE_RETURN];
        let of_hooks = PROGRAMS
            .into_iter()
            .filter(|(name, section)| *section != "fentry" && !of_lines.contains(name));
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
