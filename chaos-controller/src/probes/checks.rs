//! Keeps what was found wrong with probes and conditions: all experiments are read at each look, and to compile an
//! expression takes longer than anything else about them.

use std::collections::BTreeMap;

use chaos_api::kinds::Probe;
use chaos_expression::ExpressionError;
use sha2::{Digest as _, Sha256};

use crate::condition::{self, Member};

/// Texts that are kept of either kind; when there are more, all are checked anew.
const MOST: usize = 4096;

/// What was checked, each once.
#[derive(Debug, Default)]
pub struct Checks {
    /// By the digest of the probe as JSON, with its parameters put in.
    probes: BTreeMap<[u8; 32], Option<String>>,
    conditions: BTreeMap<String, Result<Vec<Member>, ExpressionError>>,
}

impl Checks {
    /// The first mistake of a probe, if it has one. `text` is the probe as JSON.
    pub fn probe(&mut self, probe: &Probe, text: &str) -> Option<String> {
        let check = || chaos_probe::mistakes(probe).into_iter().next();
        let key = Sha256::digest(text).into();
        make_room(&mut self.probes, &key);
        self.probes.entry(key).or_insert_with(check).clone()
    }

    /// What the condition of a step asks for, if it can be read.
    pub fn condition(&mut self, text: &str) -> Result<Vec<Member>, ExpressionError> {
        let key = text.to_owned();
        make_room(&mut self.conditions, &key);
        let known = self.conditions.entry(key);
        known.or_insert_with(|| condition::check(text)).clone()
    }
}

fn make_room<K: Ord, T>(known: &mut BTreeMap<K, T>, key: &K) {
    if known.len() >= MOST && !known.contains_key(key) {
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_checked_does_not_pile_up_and_stays_right() {
        let mut checks = Checks::default();
        for number in 0..MOST + 3 {
            let failed = format!("probes.web.failed > {number}");
            assert!(checks.condition(&failed).is_ok());
        }
        assert_eq!(checks.conditions.len(), 3);
        let first = checks.condition("probe.web.ok");
        assert!(first.is_err());
        assert_eq!(checks.condition("probe.web.ok"), first);
    }
}
