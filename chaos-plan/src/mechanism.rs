//! What a fault is done with: hooks, system calls by number, a delay line.

use std::collections::BTreeSet;

use chaos_ebpf_common::rule::Action;
use chaos_fault::Fault;

use super::{DelayLine, Hook, KernelFeatures, PlannedCall, Support, refusal::Objection};

/// How a fault is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mechanism {
    pub(super) action: Action,
    pub(super) hooks: BTreeSet<Hook>,
    pub(super) calls: Vec<PlannedCall>,
    pub(super) line: Option<DelayLine>,
    /// As in [`PlannedRule`](super::PlannedRule::answer_line).
    pub(super) answer_line: Option<DelayLine>,
}

impl Mechanism {
    pub(super) fn of_packets(action: Action, hooks: BTreeSet<Hook>) -> Self {
        Self { action, hooks, calls: Vec::new(), line: None, answer_line: None }
    }
}

/// The objection to what the language has and this version does not do.
pub(super) fn lacking(what: &str, means: &str) -> Objection {
    Objection::new(format!("`{what}` needs {means}, which this version does not have"))
}

/// The objection to a fault that needs a hook which this kernel lacks.
pub(super) fn missing_hook(
    fault: &Fault,
    hook: Hook,
    features: &KernelFeatures,
    reason: &str,
    remedy: &str,
) -> Objection {
    let (word, release) = (fault.verb.word(), &features.release);
    let needs = format!("`{word}` needs {hook}, which kernel {release} does not offer: {reason}");
    // Had the fallback worked, it would have been taken.
    match hook.fallback().map(|fallback| (fallback, features.support(fallback))) {
        Some((fallback, Support::Missing { reason, remedy: other })) => {
            Objection::new(format!("{needs}; nor {fallback}: {reason}"))
                .remedy(format!("{remedy}, or {other}"))
        }
        _ => Objection::new(needs).remedy(remedy),
    }
}
