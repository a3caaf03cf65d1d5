//! The rules of one target as wardens read them from the shared memory.

use std::collections::BTreeSet;

use chaos_ebpf_common::{
    MAX_RULES,
    rule::{Rule, RuleSet},
};

use super::{abi::NATIVE_NUMBERS, under::Under};
use crate::plan::{CompiledSet, PlannedRule};

/// Room for 64 rules, each with a path of the greatest length.
pub const MOST_BYTES: usize = 300 * 1024;

/// A compiled rule set, as far as calls are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WardenRules {
    pub set: RuleSet,
    /// Bit by bit.
    pub rules: Vec<Rule>,
    /// For each native call number the rules that name it.
    pub calls: Vec<(u32, u64)>,
    /// The rules that have an `under`, by their bit.
    pub under: Vec<(u32, Under)>,
}

impl WardenRules {
    /// What was compiled of these rules.
    pub fn new(compiled: &CompiledSet, rules: &[PlannedRule]) -> Self {
        let mut set = compiled.set;
        let mut under = Vec::new();
        for (bit, rule) in (0..).zip(rules) {
            if let Some(path) = &rule.fault.under {
                set.by_path |= 1 << bit;
                under.push((bit, Under::new(path.as_str())));
            }
        }
        let calls = compiled.calls.iter().map(|(number, mask)| (u32::from(*number), *mask));
        Self { set, rules: compiled.rules.clone(), calls: calls.collect(), under }
    }

    /// The calls that some rule names.
    pub fn named(&self) -> BTreeSet<u32> {
        self.calls.iter().map(|(number, _)| *number).collect()
    }

    /// The rules that name a call.
    pub fn naming(&self, call: u32) -> u64 {
        let index = self.calls.binary_search_by_key(&call, |(number, _)| *number);
        index.map_or(0, |index| self.calls[index].1)
    }

    /// Whether some rule that could act at this moment of the boot clock (ns) goes by the files that
    /// the call names.
    pub fn ask_for_files(&self, call: u32, now: u64) -> bool {
        let by_path = self.naming(call) & self.set.by_path;
        let acts = |rule: &Rule| rule.not_before <= now && now < rule.deadline;
        let mut rules = (0..).zip(&self.rules);
        by_path != 0 && rules.any(|(bit, rule): (u32, _)| by_path & 1 << bit != 0 && acts(rule))
    }

    /// Whether a rule of these has an `under`.
    pub fn has_path(&self, rule: &Rule) -> bool {
        let mut rules = (0..).zip(&self.rules);
        rules.any(|(bit, of): (u32, _)| of.slot == rule.slot && self.set.by_path & 1 << bit != 0)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, &self.set);
        push_number(&mut bytes, self.rules.len() as u64);
        self.rules.iter().for_each(|rule| push(&mut bytes, rule));
        push_number(&mut bytes, self.calls.len() as u64);
        for (number, mask) in &self.calls {
            push_number(&mut bytes, u64::from(*number));
            push_number(&mut bytes, *mask);
        }
        push_number(&mut bytes, self.under.len() as u64);
        for (bit, under) in &self.under {
            push_number(&mut bytes, u64::from(*bit));
            push_number(&mut bytes, under.text().len() as u64);
            bytes.extend(under.text().as_bytes());
        }
        bytes
    }

    /// `None` where the bytes are no such rules.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let set = reader.take::<RuleSet>()?;
        let rules = reader.number(MAX_RULES)?;
        let rules = (0..rules).map(|_| reader.take::<Rule>()).collect::<Option<_>>()?;
        let calls = reader.number(NATIVE_NUMBERS as usize)?;
        let calls = (0..calls)
            .map(|_| Some((u32::try_from(reader.take::<u64>()?).ok()?, reader.take::<u64>()?)))
            .collect::<Option<_>>()?;
        let under = reader.number(MAX_RULES)?;
        let under = (0..under)
            .map(|_| {
                let bit = u32::try_from(reader.number(MAX_RULES - 1)?).ok()?;
                let length = reader.number(MOST_BYTES)?;
                let text = reader.0.split_off(..length)?;
                Some((bit, Under::new(str::from_utf8(text).ok()?)))
            })
            .collect::<Option<_>>()?;
        Some(Self { set, rules, calls, under })
    }
}

fn push<T: aya::Pod>(bytes: &mut Vec<u8>, value: &T) {
    // SAFETY: a Pod is plain memory without padding.
    bytes.extend(unsafe {
        std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>())
    });
}

fn push_number(bytes: &mut Vec<u8>, number: u64) {
    push(bytes, &number);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<T: aya::Pod>(&mut self) -> Option<T> {
        let bytes = self.0.split_off(..size_of::<T>())?;
        // SAFETY: the length is right, every bit pattern is a valid Pod, and read_unaligned asks
        // for no alignment.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// A number that is at most `most`.
    fn number(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.take::<u64>()?).ok().filter(|number| *number <= most)
    }
}
