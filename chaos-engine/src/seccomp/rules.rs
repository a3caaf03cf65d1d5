//! The rules of one target as supervisors read them from the shared memory.

use std::collections::{BTreeMap, BTreeSet};

use chaos_ebpf_common::{
    MAX_RULES,
    rule::{Rule, RuleSet},
    tables::{CALLS, CLONING},
};
use chaos_plan::{CompiledSet, End, PlannedRule};

use super::{
    lookup::{Link, Paths},
    under::Under,
};

/// Room for 64 rules, each with a path of the greatest length.
pub const MOST_BYTES: usize = 300 * 1024;

/// The rules that name a call, by which of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Naming {
    /// By whichever it names, or by none.
    pub any: u64,
    /// By the file that it takes bytes out of.
    pub source: u64,
    /// By the file that it puts bytes into.
    pub destination: u64,
}

impl Naming {
    /// All of them.
    fn all(self) -> u64 {
        self.any | self.source | self.destination
    }

    /// Those that such a file decides about.
    fn by(self, end: Option<End>) -> u64 {
        match end {
            None => self.all(),
            Some(End::Source) => self.any | self.source,
            Some(End::Destination) => self.any | self.destination,
        }
    }
}

/// A compiled rule set, as far as calls are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorRules {
    pub set: RuleSet,
    /// Bit by bit.
    pub rules: Vec<Rule>,
    /// For each number by which the tables have a call, in their order, the rules that name it.
    pub calls: Vec<(u32, Naming)>,
    /// The rules that have an `under`, by their bit.
    pub under: Vec<(u32, Under)>,
}

impl SupervisorRules {
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
        Self { set, rules: compiled.rules.clone(), calls: naming(rules), under }
    }

    /// The calls that some rule names, by the numbers of the tables.
    pub fn named(&self) -> BTreeSet<u32> {
        self.calls.iter().map(|(number, _)| *number).collect()
    }

    /// The rules that name a call.
    pub fn naming(&self, call: u32) -> u64 {
        self.find(call).all()
    }

    /// The rules whose path the files of a call are at or below, or what the path leads to.
    pub fn meeting(&self, call: u32, Paths { files, links }: &Paths) -> u64 {
        let naming = self.find(call);
        let leads = |under: &Under, path: &[u8]| {
            let mut links = links.iter().filter(|link| link.text == under.text());
            links.any(|Link { to, .. }| to.covers(path))
        };
        let meets = |bit: u32, under: &Under| {
            let mut files = files.iter().filter(|file| naming.by(file.end) & 1 << bit != 0);
            files.any(|file| under.covers(&file.path) || leads(under, &file.path))
        };
        let met = self.under.iter().filter(|(bit, under)| meets(*bit, under));
        met.fold(0, |met, (bit, _)| met | 1 << bit)
    }

    /// The paths of the rules that name a call.
    pub fn paths(&self, call: u32) -> impl Iterator<Item = &str> {
        let naming = self.naming(call);
        let under = self.under.iter().filter(move |(bit, _)| naming & 1 << bit != 0);
        under.map(|(_, under)| under.text())
    }

    fn find(&self, call: u32) -> Naming {
        let index = self.calls.binary_search_by_key(&call, |(number, _)| *number);
        index.map_or_else(|_| Naming::default(), |index| self.calls[index].1)
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
        for (number, Naming { any, source, destination }) in &self.calls {
            for number in [u64::from(*number), *any, *source, *destination] {
                push_number(&mut bytes, number);
            }
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
        let calls = reader.number(CALLS)?;
        let calls = (0..calls)
            .map(|_| {
                let number = u32::try_from(reader.take::<u64>()?).ok()?;
                let [any, source, destination] =
                    [reader.take::<u64>()?, reader.take::<u64>()?, reader.take::<u64>()?];
                Some((number, Naming { any, source, destination }))
            })
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

fn naming(rules: &[PlannedRule]) -> Vec<(u32, Naming)> {
    let mut calls = BTreeMap::<u32, Naming>::new();
    for (bit, rule) in (0..).zip(rules) {
        for call in &rule.calls {
            for number in call.table_numbers() {
                let naming = calls.entry(number.into()).or_default();
                *match call.end {
                    // An `ioctl` is about the file that it is made on.
                    None if number == CLONING => &mut naming.destination,
                    None => &mut naming.any,
                    Some(End::Source) => &mut naming.source,
                    Some(End::Destination) => &mut naming.destination,
                } |= 1u64 << bit;
            }
        }
    }
    calls.into_iter().collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chaos_ebpf_common::tables::IOCTL;
    use chaos_fault::Fault;
    use chaos_plan::{Backend, KernelFeatures, Support, Terms, compile, plan};

    use super::*;
    use crate::seccomp::caller::NamedFile;

    fn rules(texts: &[&str]) -> SupervisorRules {
        let faults: Vec<Fault> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let features = KernelFeatures::nothing("6.18.0").with(Backend::Seccomp, Support::Works);
        let plan = plan(&faults, &features, &Terms::default());
        assert_eq!(plan.refused, []);
        let zeros = vec![0; faults.len()];
        let slots: Vec<u32> = (0..).take(faults.len()).collect();
        SupervisorRules::new(&compile(&plan.rules, &slots, 0, &zeros), &plan.rules)
    }

    #[test]
    fn what_copies_is_judged_by_the_file_that_a_rule_means() {
        let rules = rules(&[
            "fail write with ENOSPC under /full",
            "fail read with EIO under /full",
            "fail copy_file_range, ioctl with EPERM under /full",
        ]);
        let paths = |path: &str, end| {
            let files = vec![NamedFile { path: path.into(), end }];
            Paths { files, links: Vec::new() }
        };
        let (from, to) = (Some(End::Source), Some(End::Destination));
        let copy_file_range = 326;
        for (call, path, end, met) in [
            (1, "/full/a", None, 0b001),
            (0, "/full/a", None, 0b010),
            (285, "/full/a", None, 0b001),
            (copy_file_range, "/full/a", to, 0b101),
            (copy_file_range, "/full/a", from, 0b110),
            (copy_file_range, "/other/a", to, 0),
            (40, "/full/a", from, 0b010),
            (275, "/full/a", to, 0b001),
            (CLONING.into(), "/full/a", to, 0b101),
            (CLONING.into(), "/full/a", from, 0b010),
            (IOCTL.into(), "/full/a", None, 0b100),
        ] {
            assert_eq!(rules.meeting(call, &paths(path, end)), met, "{call} {end:?}");
        }
        let to = Arc::new(Under::behind(b"/real", ""));
        let mut linked = paths("/real/a", None);
        assert_eq!(rules.meeting(1, &linked), 0);
        linked.links.push(Link { text: "/full".to_owned(), to });
        assert_eq!(rules.meeting(1, &linked), 0b001);
        assert_eq!(rules.naming(IOCTL.into()), 0b100);
        assert_eq!(rules.naming(CLONING.into()), 0b111);
        assert_eq!(SupervisorRules::from_bytes(&rules.to_bytes()), Some(rules));
    }
}
