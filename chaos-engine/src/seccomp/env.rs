//! The gate's environment in user space: one call, and the rules of one target.

use chaos_api::clock::boot_now;
use chaos_ebpf_common::{
    event::{Event, Family, FileId},
    gate::{Env, Grant, Verdict},
    ledger::Count,
    record::Record,
    rule::{Rule, RuleSet},
    tables::Ends,
};

use super::{lookup::Paths, rules::SupervisorRules, shared_rules::SharedRules};

/// The files that a call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// No rule with a path can act now, so nobody looked.
    Unasked,
    Known(Paths),
    /// It took too long to find out: rules with a path can't act.
    Unknown,
}

/// What one call is judged by.
pub struct BoardGround<'a> {
    pub shared: &'a SharedRules,
    pub rules: &'a SupervisorRules,
    /// The number by which the rules have the call.
    pub call: u16,
    pub files: &'a Files,
}

impl Env for BoardGround<'_> {
    fn set(&self, id: u32) -> Option<&RuleSet> {
        (id == self.rules.set.id).then_some(&self.rules.set)
    }

    fn rule(&self, place: u32) -> Option<&Rule> {
        self.rules.rules.get(usize::try_from(place).ok()?)
    }

    /// No rule on calls asks for an address: the planner refuses that.
    fn peer(&self, _set: u32, _family: Family, _address: &[u8; 16]) -> Ends {
        Ends::NONE
    }

    /// As for addresses.
    fn port(&self, _set: u32, _port: u16) -> Ends {
        Ends::NONE
    }

    fn calls(&self, _set: u32, number: u16) -> u64 {
        self.rules.naming(number.into())
    }

    /// Of a call whose files are unknown, each rule with a path is asked, and counts it as unfit.
    fn paths(&self, _set: u32, _file: &FileId) -> u64 {
        match self.files {
            Files::Unasked => 0,
            Files::Known(paths) => self.rules.meeting(self.call.into(), paths),
            Files::Unknown => self.rules.set.by_path,
        }
    }

    fn now(&self) -> u64 {
        boot_now()
    }

    fn lease(&self) -> u64 {
        self.shared.lease()
    }

    fn ordinal(&self, rule: &Rule) -> Option<(u64, bool)> {
        if *self.files == Files::Unknown && self.rules.has_path(rule) {
            return None;
        }
        // Bursts are of packets.
        self.shared.ordinal(rule.slot).map(|ordinal| (ordinal, false))
    }

    /// Calls are of no flow.
    fn flow_number(&self, _rule: &Rule, _flow: u64) -> Option<u32> {
        None
    }

    fn grant(&self, rule: &Rule, now: u64) -> Grant {
        self.shared.grant(rule, now)
    }

    fn count(&self, slot: u32, count: Count) {
        self.shared.count(slot, count, 1);
    }

    fn emit(&self, event: &Event, verdict: &Verdict, shadow: bool) {
        self.shared.tell(&Record::new(event, verdict, shadow));
    }
}
