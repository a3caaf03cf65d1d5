//! A board as a warden reads it, and its rules at the moment of a call.

use std::sync::{Arc, RwLock};

use chaos_ebpf_common::ledger::Count;

use super::{board::Board, rules::WardenRules};

/// A board and the rules that were last read from it.
#[derive(Debug)]
pub struct Desk {
    pub board: Board,
    rules: RwLock<Option<(u64, Arc<WardenRules>)>>,
}

/// A desk and the rules that were in force on it when a call was made.
#[derive(Debug, Clone)]
pub struct Ruled {
    pub desk: Arc<Desk>,
    pub rules: Arc<WardenRules>,
}

impl Desk {
    pub fn new(board: Board) -> Self {
        Self { board, rules: RwLock::new(None) }
    }

    /// The rules in force, or the last ones while they are being changed; `None` where none of them
    /// names the call.
    pub fn ruled(self: &Arc<Self>, call: u16) -> Option<Ruled> {
        let rules = self.rules().filter(|rules| rules.naming(call.into()) != 0)?;
        Some(Ruled { desk: self.clone(), rules })
    }

    fn rules(&self) -> Option<Arc<WardenRules>> {
        let generation = self.board.generation();
        let known = self.rules.read().ok()?.clone();
        match known {
            Some((number, rules)) if number == generation => Some(rules),
            known => match self.board.rules() {
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
        self.board.count(slot, Count::Injected, -1);
        self.board.count(slot, Count::Unfit, 1);
    }
}

impl Ruled {
    /// Whether the files that the call names decide about it at this moment of the boot clock (ns).
    pub fn ask_for_files(&self, call: u16, now: u64) -> bool {
        now < self.desk.board.lease() && self.rules.ask_for_files(call.into(), now)
    }
}
