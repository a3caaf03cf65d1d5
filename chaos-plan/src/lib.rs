//! (faults × kernel features) → plan, and plan → the kernel's tables. Pure: no kernel, no
//! Kubernetes, no clock, no I/O.
//!
//! A plan is made for one target. Every fault becomes either a [`PlannedRule`], with the hooks it
//! acts through and what it promises, or a [`Refusal`] with the reason and, where there is one,
//! the remedy; one that is not well formed ([`chaos_fault::check`]) is refused, too. A refusal never
//! stops the other faults; whether to go on is the caller's choice.

#![forbid(unsafe_code)]

pub mod abi;
pub mod arguments;
mod attachment;
mod backend;
mod calls;
mod calls_by_number;
mod compat;
mod compile;
mod composition;
mod dns_name;
mod entry;
mod family;
mod features;
mod hold;
mod hook;
mod keys;
mod latencies;
mod line;
mod mechanism;
mod notes;
mod path;
mod prefix;
mod refusal;
mod scope;
mod security;
mod seed;
mod slots;
mod terms;
mod time;
mod verbs;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

pub use attachment::{Attachment, attachment, attachments};
pub use backend::Backend;
pub use calls_by_number::PlannedCall;
use chaos_ebpf_common::{MAX_RULES, hold::Hold, rule::Action, tables::MAX_LEADS};
use chaos_fault::{Fault, Verb, WeightedLatency};
pub use compat::compat_numbers;
pub use compile::{CompiledSet, compile};
pub use composition::{Position, can_clash, clash, is_asked};
pub use family::End;
pub use features::{Capability, KernelFeatures, Support};
pub use hook::Hook;
use jiff::Timestamp;
pub use latencies::table as latency_table;
pub use line::DelayLine;
pub use path::plain_part;
use refusal::Objection;
pub use refusal::Refusal;
pub use scope::{Scope, Share, by_container};
pub use seed::seed_from;
use serde::{Serialize, Serializer};
pub use slots::{OutOfSlots, Slot, assign};
pub use time::nanoseconds;

/// What holds for every fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// For faults without `for`.
    pub default_duration: Duration,
    /// A fault that wants longer is refused.
    pub longest: Duration,
    /// For faults without `seed`.
    pub seed: u64,
    /// Addresses that are left alone at either end of the traffic, unless the fault's `to` or
    /// `from` names exactly that one address.
    pub exempt: Vec<IpAddr>,
    pub scope: Scope,
    /// When it is planned, by the wall clock: a fault whose `until` has passed is refused. `None` where such a
    /// fault is not new, and counts as over.
    pub now: Option<Timestamp>,
    /// Somebody looks after the guard, so that faults may be `guarded`.
    pub has_guard: bool,
    /// The target is started with a seccomp filter, as the child of `run` is: seccomp reaches all
    /// of it.
    pub has_filter: bool,
}

impl Default for Terms {
    /// 5 minutes, at most an hour, seed 0, nothing exempt, a target without containers, guard or filter.
    fn default() -> Self {
        Self {
            default_duration: Duration::from_secs(5 * 60),
            longest: Duration::from_secs(60 * 60),
            seed: 0,
            exempt: Vec::new(),
            scope: Scope::Whole,
            now: None,
            has_guard: false,
            has_filter: false,
        }
    }
}

/// What will be done, and what will not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// In the order of the faults, at most [`MAX_RULES`]. The first that hits an event decides.
    pub rules: Vec<PlannedRule>,
    /// In the order of the faults.
    pub refused: Vec<Refusal>,
    /// What is to be known about the plan as a whole.
    pub notes: Vec<String>,
}

/// A fault that this kernel can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRule {
    /// Of the fault in the list that was planned, from 0.
    pub index: usize,
    #[serde(serialize_with = "sentence")]
    pub fault: Fault,
    /// In the order of [`Hook::ALL`], without duplicates; empty where only `calls` are answered.
    pub hooks: Vec<Hook>,
    /// System calls that no cgroup hook answers for this rule, by number.
    pub calls: Vec<PlannedCall>,
    /// What holds the frames that it holds back.
    pub line: Option<DelayLine>,
    /// What its answers go through where they come in place of Docker's embedded name server, as NAT takes
    /// them for more questions otherwise. There is none where the kernel has none.
    #[serde(skip)]
    pub answer_line: Option<DelayLine>,
    #[serde(serialize_with = "action_name")]
    pub action: Action,
    /// From the moment the fault begins (`after` included) to its end.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// The fault's own, or that of the terms.
    pub seed: u64,
    /// Where the path of `under` leads through symbolic links, as far as the programs in the kernel are
    /// told: whoever arms the rule finds out ([`PlannedRule::lead`]).
    #[serde(skip)]
    pub leads_to: BTreeSet<Vec<u8>>,
    /// Of the exempt addresses those that this fault leaves alone; sorted, IPv4-mapped ones as
    /// IPv4.
    pub exempt: BTreeSet<IpAddr>,
    /// What is promised and what is not, one sentence each.
    pub notes: Vec<String>,
}

/// Decides for each fault whether and how it can be done.
pub fn plan(faults: &[Fault], features: &KernelFeatures, terms: &Terms) -> Plan {
    let mut plan = Plan::default();
    let mut room = terms::Room::new();
    for (index, fault) in faults.iter().enumerate() {
        let rule = plan_one(index, fault, features, terms).and_then(|rule| {
            if plan.rules.len() == MAX_RULES {
                return Err(Objection::new(format!("a text takes at most {MAX_RULES} rules"))
                    .remedy("join faults that differ only in networks or ports"));
            }
            room.take(&rule)?;
            Ok(rule)
        });
        match rule {
            Ok(rule) => plan.rules.push(rule),
            Err(objection) => plan.refused.push(objection.about(index, fault)),
        }
    }
    plan.notes = notes::of_plan(&plan.rules);
    plan
}

fn plan_one(
    index: usize,
    fault: &Fault,
    features: &KernelFeatures,
    terms: &Terms,
) -> Result<PlannedRule, Objection> {
    if let Some(problem) = chaos_fault::check(fault).into_iter().next() {
        return Err(Objection::from_problem(problem));
    }
    terms::pods(fault)?;
    terms::names(fault)?;
    terms::guard(fault, terms)?;
    terms::end(fault, terms)?;
    let mechanism = verbs::mechanism(fault, features, terms.has_filter)?;
    terms::container(fault, &terms.scope)?;
    let duration = terms::duration(fault, terms)?;
    for hook in &mechanism.hooks {
        if let Support::Missing { reason, remedy } = features.support(*hook) {
            return Err(mechanism::missing_hook(fault, *hook, features, &reason, &remedy));
        }
    }
    let (exempt, named) = terms::exemptions(fault, &terms.exempt);
    Ok(PlannedRule {
        index,
        notes: notes::of_rule(fault, &mechanism, &named, features),
        fault: fault.clone(),
        hooks: mechanism.hooks.into_iter().collect(),
        calls: mechanism.calls,
        line: mechanism.line,
        answer_line: mechanism.answer_line,
        action: mechanism.action,
        duration,
        seed: fault.seed.unwrap_or(terms.seed),
        leads_to: BTreeSet::new(),
        exempt,
    })
}

impl PlannedRule {
    /// Whether a supervisor decides it: all of its calls then, and nothing else.
    pub fn is_by_seccomp(&self) -> bool {
        self.calls.iter().any(|call| call.backend == Backend::Seccomp)
    }

    /// Says where the path of `under` leads; what the kernel's table has no room for is left out.
    /// Whether that is news.
    pub fn lead<'a>(&mut self, to: impl IntoIterator<Item = &'a Vec<u8>>) -> bool {
        let fitting = to.into_iter().filter(|path| path::fits(path)).take(MAX_LEADS);
        let leads_to = fitting.cloned().collect();
        let before = std::mem::replace(&mut self.leads_to, leads_to);
        before != self.leads_to
    }

    /// Has it end at this moment at the latest, where its clock began at that one; boot clock, ns.
    pub fn end_by(&mut self, began: u64, moment: u64) {
        let starts = began.saturating_add(nanoseconds(self.fault.after.unwrap_or_default()));
        let left = Duration::from_nanos(moment.saturating_sub(starts));
        self.duration = self.duration.min(left);
    }

    /// The latencies of which it picks one for each frame, where it has several.
    pub fn latencies(&self) -> Option<&[WeightedLatency]> {
        self.fault.verb.latency().and_then(latencies::of)
    }

    /// How long it holds frames, where it does; what it picks from is [`PlannedRule::latencies`]. Where that and what is
    /// remembered of flows ([`PlannedRule::is_per_flow`]) are, whoever arms it says.
    pub fn hold(&self) -> Option<Hold> {
        hold::hold(&self.fault.verb)
    }

    /// Whether every flow has its rate to itself.
    pub fn is_per_flow(&self) -> bool {
        matches!(self.fault.verb, Verb::Limit { per_flow: true, .. })
    }
}

impl Plan {
    /// The delay line that rules need, the same for all.
    pub fn line(&self) -> Option<DelayLine> {
        self.rules.iter().filter(|rule| !rule.fault.shadow).find_map(|rule| rule.line)
    }

    /// The delay line that answers need in a network namespace with Docker's embedded name server.
    pub fn answer_line(&self) -> Option<DelayLine> {
        self.rules.iter().find_map(|rule| rule.answer_line)
    }

    /// Whether some rule needs supervisors.
    pub fn needs_supervisors(&self) -> bool {
        self.rules.iter().any(PlannedRule::is_by_seccomp)
    }

    /// Every hook that some rule needs.
    pub fn hooks(&self) -> BTreeSet<Hook> {
        self.rules.iter().flat_map(|rule| rule.hooks.iter().copied()).collect()
    }

    /// Every call that some rule answers by number, sorted, without duplicates.
    pub fn calls(&self) -> BTreeSet<PlannedCall> {
        self.rules.iter().flat_map(|rule| rule.calls.iter().cloned()).collect()
    }

    /// The plan of a [`Share`] with the indices of the list that was split. Indices beyond
    /// `indices` stay as they are.
    #[must_use]
    pub fn renumbered(mut self, indices: &[usize]) -> Self {
        let full = |index: usize| indices.get(index).copied().unwrap_or(index);
        for rule in &mut self.rules {
            rule.index = full(rule.index);
        }
        for refusal in &mut self.refused {
            refusal.index = full(refusal.index);
        }
        self
    }
}

fn sentence<S: Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(fault)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn action_name<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match action {
        Action::Drop => "drop",
        Action::Fail => "fail",
        Action::Corrupt => "corrupt",
        Action::CorruptSilently => "corrupt silent",
        Action::Kill => "kill",
        Action::Duplicate => "duplicate",
        Action::Delay => "delay",
        Action::Reorder => "reorder",
        Action::Reset => "reset",
        Action::Limit => "limit",
        Action::NxDomain => "answer NXDOMAIN",
        Action::ServFail => "answer SERVFAIL",
        Action::Refused => "answer REFUSED",
        Action::Silence => "answer nothing",
    })
}
