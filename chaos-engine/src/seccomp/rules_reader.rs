//! Shared rules as a supervisor reads them, and those in force at the moment of a call.

use std::sync::{Arc, RwLock};

use chaos_ebpf_common::ledger::Count;

use super::{rules::SupervisorRules, shared_rules::SharedRules};

/// Shared rules and the rules that were last read from it.
#[derive(Debug)]
pub struct RulesReader {
    pub shared: SharedRules,
    rules: RwLock<Option<(u64, Arc<SupervisorRules>)>>,
}

/// A reader and the rules that were in force on it when a call was made.
#[derive(Debug, Clone)]
pub struct Ruled {
    pub reader: Arc<RulesReader>,
    pub rules: Arc<SupervisorRules>,
}

impl RulesReader {
    pub fn new(shared: SharedRules) -> Self {
        Self { shared, rules: RwLock::new(None) }
    }

    /// The rules in force, or the last ones while they are being changed; `None` where none of them
    /// names the call.
    pub fn ruled(self: &Arc<Self>, call: u16) -> Option<Ruled> {
        let rules = self.rules().filter(|rules| rules.naming(call.into()) != 0)?;
        Some(Ruled { reader: self.clone(), rules })
    }

    fn rules(&self) -> Option<Arc<SupervisorRules>> {
        let generation = self.shared.generation();
        let known = self.rules.read().ok()?.clone();
        match known {
            Some((number, rules)) if number == generation => Some(rules),
            known => match self.shared.rules() {
                Some((number, rules)) => {
                    let rules = Arc::new(rules);
                    *self.rules.write().ok()? = Some((number, rules.clone()));
                    Some(rules)
                }
                None => known.map(|(_, rules)| rules),
            },
        }
    }

    /// An injection that was counted has not been done.
    pub fn take_back(&self, slot: u32) {
        self.shared.count(slot, Count::Injected, -1);
        self.shared.count(slot, Count::Unfit, 1);
    }
}

impl Ruled {
    /// Whether the files that the call names decide about it at this moment of the boot clock (ns).
    pub fn ask_for_files(&self, call: u16, now: u64) -> bool {
        now < self.reader.shared.lease() && self.rules.ask_for_files(call.into(), now)
    }
}
