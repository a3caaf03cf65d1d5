//! A rule of a target, and by which means it is decided.

use std::sync::Arc;

use chaos_api::Phase;
use chaos_plan::{CompiledSet, PlannedRule, compile, nanoseconds};

use crate::arm::symlinks::Sights;

/// A rule in force, and where it counts.
pub(super) struct ArmedRule {
    pub(super) planned: PlannedRule,
    pub(super) slot: u32,
    pub(super) sentence: Arc<str>,
    /// Boot-clock moment at which the fault's own clock began.
    pub(super) began: u64,
    /// And at which this process began to count what matches it.
    pub(super) counted_since: u64,
}

/// Whether programs decide a rule.
pub(super) fn is_in_text(rule: &PlannedRule) -> bool {
    !rule.is_by_seccomp()
}

/// Compiles those of the rules that are `wanted`, which are given back, with these slots.
pub(super) fn compile_part(
    rules: &[ArmedRule],
    set: u32,
    wanted: impl Fn(&PlannedRule) -> bool,
    slot: impl Fn(&ArmedRule) -> Option<u32>,
) -> (CompiledSet, Vec<PlannedRule>) {
    let part = || rules.iter().filter(|rule| wanted(&rule.planned));
    let planned: Vec<PlannedRule> = part().map(|rule| rule.planned.clone()).collect();
    // A slot beyond all counts nothing.
    let slots: Vec<u32> = part().map(|rule| slot(rule).unwrap_or(u32::MAX)).collect();
    let starts: Vec<u64> = part().map(|rule| rule.began).collect();
    (compile(&planned, &slots, set, &starts), planned)
}

/// When a rule begins to act whose fault's clock began at this moment (boot clock, ns).
pub(super) fn starts(rule: &PlannedRule, began: u64) -> u64 {
    began.saturating_add(nanoseconds(rule.fault.after.unwrap_or_default()))
}

/// When it has acted for the last time.
pub(in crate::arm) fn ends(rule: &PlannedRule, began: u64) -> u64 {
    starts(rule, began).saturating_add(nanoseconds(rule.duration))
}

impl ArmedRule {
    /// Takes in where its path leads, for programs in the kernel; whether that is news.
    pub(super) fn lead(&mut self, sights: &Sights) -> bool {
        let path = self.planned.fault.under.as_ref().filter(|_| !self.planned.is_by_seccomp());
        // Where nobody has looked, what was found before holds.
        let sight = path.and_then(|path| sights.get(path)).filter(|sight| sight.seen).cloned();
        sight.is_some_and(|sight| self.planned.lead(&sight.leads_to))
    }

    pub(super) fn starts(&self) -> u64 {
        starts(&self.planned, self.began)
    }

    pub(super) fn ends(&self) -> u64 {
        ends(&self.planned, self.began)
    }

    pub(super) fn phase(&self, now: u64) -> Phase {
        if now >= self.ends() {
            Phase::Ended
        } else if now < self.starts() {
            Phase::Waiting
        } else {
            Phase::Active
        }
    }
}
