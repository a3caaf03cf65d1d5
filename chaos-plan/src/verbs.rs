//! By what means each verb is done.

use std::collections::BTreeSet;

use chaos_ebpf_common::rule::{Action, MAX_ERRNOS};
use chaos_fault::{Direction, DnsAnswer, Fault, Protocol, Verb};

use super::{
    Hook, KernelFeatures, calls, dns_name, hold,
    mechanism::{Mechanism, lacking},
    refusal::Objection,
};

impl Mechanism {
    /// One that holds frames.
    fn of_holding(
        action: Action,
        fault: &Fault,
        features: &KernelFeatures,
    ) -> Result<Self, Objection> {
        let line = Some(hold::line(fault, features)?);
        Ok(Self { line, ..Self::of_packets(action, frame_hooks(fault, features)) })
    }
}

/// The means for a fault, or why there are none. `has_filter` as in [`super::Terms`].
pub(super) fn mechanism(
    fault: &Fault,
    features: &KernelFeatures,
    has_filter: bool,
) -> Result<Mechanism, Objection> {
    match &fault.verb {
        Verb::Drop => Ok(Mechanism::of_packets(Action::Drop, packet_hooks(fault))),
        Verb::Corrupt { silent: false } => {
            Ok(Mechanism::of_packets(Action::Corrupt, frame_hooks(fault, features)))
        }
        Verb::Corrupt { silent: true } => {
            if fault.protocol == Some(Protocol::Icmp) {
                return Err(Objection::new(
                    "`corrupt silent` repairs the checksum of tcp and udp only, not of icmp",
                )
                .remedy("write `corrupt` without `silent`: the receiver discards the packet"));
            }
            Ok(Mechanism::of_packets(Action::CorruptSilently, frame_hooks(fault, features)))
        }
        Verb::Fail { calls, errnos } => {
            if errnos.len() > MAX_ERRNOS {
                return Err(Objection::new(format!(
                    "{} errnos to pick from, and a rule has room for {MAX_ERRNOS}",
                    errnos.len()
                ))
                .remedy("split the fault in two, each with its share of the chance"));
            }
            calls::mechanism(Action::Fail, calls, fault, features, has_filter)
        }
        Verb::Delay(latency) => {
            hold::check_latency(latency)?;
            Mechanism::of_holding(Action::Delay, fault, features)
        }
        Verb::DelayDns { latency, name } => {
            dns_name::check(fault, name)?;
            hold::check_latency(latency)?;
            Mechanism::of_holding(Action::Delay, fault, features)
        }
        Verb::Reorder { by } => {
            hold::check(*by, None)?;
            Mechanism::of_holding(Action::Reorder, fault, features)
        }
        Verb::Duplicate => {
            Ok(Mechanism::of_packets(Action::Duplicate, frame_hooks(fault, features)))
        }
        Verb::Limit { bits_per_second, queue, .. } => {
            hold::check_rate(*bits_per_second, *queue)?;
            Mechanism::of_holding(Action::Limit, fault, features)
        }
        Verb::Reset => Ok(Mechanism::of_packets(Action::Reset, frame_hooks(fault, features))),
        Verb::FailDns { answer, name } => {
            dns_name::check(fault, name)?;
            let action = match answer {
                DnsAnswer::NxDomain => Action::NxDomain,
                DnsAnswer::ServFail => Action::ServFail,
                DnsAnswer::Refused => Action::Refused,
                DnsAnswer::Timeout => Action::Silence,
            };
            let gives_answers = action != Action::Silence && !fault.shadow;
            Ok(Mechanism {
                answer_line: features.best_line().filter(|_| gives_answers),
                ..Mechanism::of_packets(action, frame_hooks(fault, features))
            })
        }
        Verb::Slow { .. } => Err(lacking("slow", "the syscall backend")),
        Verb::Kill { calls } => calls::mechanism(Action::Kill, calls, fault, features, has_filter),
        Verb::KillContainer => Err(Objection::new(
            "`kill container` is done by the agent of a Kubernetes node, for faults in annotations",
        )
        .remedy("write it into a pod's annotation or an Experiment")),
        Verb::SkewClock { .. } => {
            Err(lacking("skew clock", "the tracing programs that hide the vDSO"))
        }
    }
}

fn packet_hooks(fault: &Fault) -> BTreeSet<Hook> {
    by_direction(fault, Hook::CgroupSkbEgress, Hook::CgroupSkbIngress)
}

/// Links to interfaces where the kernel has them, else filters where it has those.
fn frame_hooks(fault: &Fault, features: &KernelFeatures) -> BTreeSet<Hook> {
    let hooks = by_direction(fault, Hook::TcxEgress, Hook::TcxIngress);
    hooks.into_iter().map(|hook| features.stand_in(hook)).collect()
}

fn by_direction(fault: &Fault, egress: Hook, ingress: Hook) -> BTreeSet<Hook> {
    fault
        .directions()
        .iter()
        .map(|direction| match direction {
            Direction::Egress => egress,
            Direction::Ingress => ingress,
        })
        .collect()
}
