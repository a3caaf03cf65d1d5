//! The gate's ground in user space: one call, and the rules of one board.

use std::cell::OnceCell;

use chaos_ebpf_common::{
    event::{Event, Family, FileId},
    gate::{Grant, Ground, Verdict},
    ledger::Count,
    record::Record,
    rule::{Rule, RuleSet},
    tables::Ends,
};

use super::{board::Board, rules::WardenRules};
use crate::kernel::boot_now;

/// The files that a call names, looked up when a rule first asks.
pub struct Files<'a> {
    look: Box<dyn Fn() -> Vec<Vec<u8>> + 'a>,
    found: OnceCell<Vec<Vec<u8>>>,
}

impl<'a> Files<'a> {
    pub fn new(look: impl Fn() -> Vec<Vec<u8>> + 'a) -> Self {
        Self { look: Box::new(look), found: OnceCell::new() }
    }

    fn get(&self) -> &[Vec<u8>] {
        self.found.get_or_init(&self.look)
    }
}

/// What one call is judged by.
pub struct BoardGround<'a> {
    pub board: &'a Board,
    pub rules: &'a WardenRules,
    pub files: &'a Files<'a>,
}

impl Ground for BoardGround<'_> {
    fn active(&self) -> Option<&RuleSet> {
        Some(&self.rules.set)
    }

    fn rule(&self, _set: u32, bit: u32) -> Option<&Rule> {
        self.rules.rules.get(usize::try_from(bit).ok()?)
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

    fn paths(&self, _set: u32, _file: &FileId) -> u64 {
        let covers =
            |under: &super::under::Under| self.files.get().iter().any(|file| under.covers(file));
        self.rules
            .under
            .iter()
            .filter(|(_, under)| covers(under))
            .fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    fn now(&self) -> u64 {
        boot_now()
    }

    fn lease(&self) -> u64 {
        self.board.lease()
    }

    fn ordinal(&self, rule: &Rule) -> Option<(u64, bool)> {
        // Bursts are of packets.
        self.board.ordinal(rule.slot).map(|ordinal| (ordinal, false))
    }

    fn grant(&self, rule: &Rule, now: u64) -> Grant {
        self.board.grant(rule, now)
    }

    fn count(&self, slot: u32, count: Count) {
        self.board.count(slot, count, 1);
    }

    fn tell(&self, event: &Event, verdict: &Verdict, shadow: bool) {
        self.board.tell(&Record::new(event, verdict, shadow));
    }
}
