//! Writes rule sets into the maps where programs look them up.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{Array, LpmTrie, MapData, lpm_trie::Key},
};
use chaos_ebpf_common::{
    rule::{Rule, RuleSet},
    tables::{Ends, PathKey, PeerKey4, PeerKey6, PortKey, call_index},
};
use chaos_plan::CompiledSet;

use super::{
    KernelError,
    maps::{failed, is_absent, map},
};

/// The maps of rule sets. A set is written before a program is led to it, and cleared when none can be at it
/// any more.
pub(super) struct Tables {
    first_sets: Array<MapData, u32>,
    heads: Array<MapData, RuleSet>,
    rules: Array<MapData, Rule>,
    peers4: LpmTrie<MapData, PeerKey4, Ends>,
    peers6: LpmTrie<MapData, PeerKey6, Ends>,
    ports: LpmTrie<MapData, PortKey, Ends>,
    calls: Array<MapData, u64>,
    paths: LpmTrie<MapData, PathKey, u64>,
    /// What is written, by the ids of the sets.
    written: BTreeMap<u32, Written>,
}

/// What is written of a set.
struct Written {
    head: RuleSet,
    peers4: Vec<Key<PeerKey4>>,
    peers6: Vec<Key<PeerKey6>>,
    ports: Vec<Key<PortKey>>,
    paths: Vec<Key<PathKey>>,
    calls: Vec<u16>,
}

impl Tables {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            first_sets: map(ebpf, "FIRST_SETS")?,
            heads: map(ebpf, "HEADS")?,
            rules: map(ebpf, "RULES")?,
            peers4: map(ebpf, "PEERS4")?,
            peers6: map(ebpf, "PEERS6")?,
            ports: map(ebpf, "PORTS")?,
            calls: map(ebpf, "CALLS")?,
            paths: map(ebpf, "PATHS")?,
            written: BTreeMap::new(),
        })
    }

    /// Writes a set to which nothing leads yet, with its rules from `first_rule` on. On an error part of it may be
    /// there, to be [cleared](Tables::clear).
    pub(super) fn write(
        &mut self,
        compiled: &CompiledSet,
        first_rule: u32,
    ) -> Result<(), KernelError> {
        let CompiledSet { set, rules, peers4, peers6, ports, calls, paths } = compiled;
        let head = RuleSet { first_rule, next: RuleSet::NONE, ..*set };
        self.clear(set.id)?;
        // Noted first, so that what an error leaves is known.
        self.written.insert(
            set.id,
            Written {
                head,
                peers4: keys(peers4),
                peers6: keys(peers6),
                ports: keys(ports),
                paths: keys(paths),
                calls: calls.keys().copied().collect(),
            },
        );
        fill(&mut self.peers4, "PEERS4", peers4)?;
        fill(&mut self.peers6, "PEERS6", peers6)?;
        fill(&mut self.ports, "PORTS", ports)?;
        fill(&mut self.paths, "PATHS", paths)?;
        for (number, rules) in calls {
            self.set_calls(set.id, *number, *rules)?;
        }
        for (place, rule) in (first_rule..).zip(rules) {
            self.rules.set(place, rule, 0).map_err(failed("update", "RULES"))?;
        }
        self.heads.set(set.id, &head, 0).map_err(failed("update", "HEADS"))
    }

    /// Leads programs through these sets, one after the other, for the target with these numbers; those that are at one
    /// of them go on along the way on which they are, or on this one.
    pub(super) fn lead(&mut self, numbers: &[u32], sets: &[u32]) -> Result<(), KernelError> {
        let mut next = RuleSet::NONE;
        // From behind: whatever programs are led to leads on.
        for set in sets.iter().rev() {
            let Some(written) = self.written.get_mut(set) else { continue };
            if written.head.next != next {
                let head = RuleSet { next, ..written.head };
                self.heads.set(*set, &head, 0).map_err(failed("update", "HEADS"))?;
                written.head = head;
            }
            next = *set;
        }
        numbers.iter().try_for_each(|number| {
            self.first_sets.set(*number, &next, 0).map_err(failed("update", "FIRST_SETS"))
        })
    }

    /// Removes what a set has left at which no program is.
    pub(super) fn clear(&mut self, set: u32) -> Result<(), KernelError> {
        let Some(written) = self.written.remove(&set) else { return Ok(()) };
        let cleared = self.erase(set, &written);
        if cleared.is_err() {
            // For another attempt.
            self.written.insert(set, written);
        }
        cleared
    }

    fn erase(&mut self, set: u32, written: &Written) -> Result<(), KernelError> {
        self.heads.set(set, &RuleSet::empty(set), 0).map_err(failed("update", "HEADS"))?;
        empty(&mut self.peers4, "PEERS4", &written.peers4)?;
        empty(&mut self.peers6, "PEERS6", &written.peers6)?;
        empty(&mut self.ports, "PORTS", &written.ports)?;
        empty(&mut self.paths, "PATHS", &written.paths)?;
        written.calls.iter().try_for_each(|number| self.set_calls(set, *number, 0))
    }

    fn set_calls(&mut self, set: u32, number: u16, rules: u64) -> Result<(), KernelError> {
        // Numbers beyond the table are of no call that the planner knows.
        let Some(index) = call_index(set, number) else { return Ok(()) };
        self.calls.set(index, &rules, 0).map_err(failed("update", "CALLS"))
    }
}

fn keys<K: Pod, V>(entries: &[(u32, K, V)]) -> Vec<Key<K>> {
    entries.iter().map(|(bits, key, _)| Key::new(*bits, *key)).collect()
}

fn fill<K: Pod, V: Pod>(
    trie: &mut LpmTrie<MapData, K, V>,
    name: &'static str,
    entries: &[(u32, K, V)],
) -> Result<(), KernelError> {
    entries.iter().try_for_each(|(bits, key, value)| {
        trie.insert(&Key::new(*bits, *key), value, 0).map_err(failed("update", name))
    })
}

fn empty<K: Pod, V: Pod>(
    trie: &mut LpmTrie<MapData, K, V>,
    name: &'static str,
    keys: &[Key<K>],
) -> Result<(), KernelError> {
    for key in keys {
        match trie.remove(key) {
            Ok(()) => {}
            // Not written, for an error on the way there.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(failed("delete from", name)(error)),
        }
    }
    Ok(())
}
