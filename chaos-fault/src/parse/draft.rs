//! What has been read of a sentence so far.

use std::{collections::BTreeMap, ops::Range};

use super::Fail;
use crate::{
    mistake::{Clause, Mistake, Problem},
    model::{Chance, Fault, HowOften, Unit, Verb},
    value::chance,
    verbs::{PARTS, Parts, Row, VERBS},
};

/// What stands in a sentence, whether it goes together or not: [`Draft::into_fault`] says.
#[derive(Clone)]
pub(super) struct Draft {
    pub verb: &'static Row,
    pub parts: Parts,
    pub how: HowOften,
    /// `in bursts of`.
    pub bursts: Option<u32>,
    pub unit: Option<Unit>,
    /// Takes every clause that any verb can have; its own verb is only a place holder.
    pub clauses: Fault,
    /// Where each clause stands that has been read.
    pub spans: BTreeMap<Clause, Range<usize>>,
}

impl Draft {
    pub fn new(verb: &'static Row, span: Range<usize>) -> Self {
        Self {
            verb,
            parts: Parts::default(),
            how: HowOften::Always,
            bursts: None,
            unit: None,
            clauses: Fault::new(Verb::Drop),
            spans: BTreeMap::from([(Clause::Verb, span)]),
        }
    }

    /// Notes where a clause stands; the second one of its kind is a mistake.
    pub fn place(&mut self, clause: Clause, name: &str, span: Range<usize>) -> Result<(), Fail> {
        if self.spans.contains_key(&clause) {
            let mistake = Mistake::new(format!("{name} is given twice"))
                .help("each clause at most once; write two sentences for two faults");
            return Err(Fail { span, mistake });
        }
        self.spans.insert(clause, span);
        Ok(())
    }

    pub fn has(&self, clause: Clause) -> bool {
        self.spans.contains_key(&clause)
    }

    /// The fault, provided that the verb has all its parts and no others.
    pub fn into_fault(self) -> Result<Fault, Problem> {
        if let Some(problem) = self.misplaced() {
            return Err(problem);
        }
        let verb = (self.verb.build)(self.parts)?;
        let of = self.unit.unwrap_or(verb.default_unit());
        let how = chance::in_bursts(self.how, self.bursts)
            .map_err(|mistake| Problem { clause: Clause::Bursts, mistake })?;
        Ok(Fault { verb, chance: Chance { how, of }, ..self.clauses })
    }

    /// The first part that another verb would have needed.
    fn misplaced(&self) -> Option<Problem> {
        let (clause, what) =
            PARTS.into_iter().find(|(clause, _)| self.has(*clause) && !self.verb.takes(*clause))?;
        let verbs = VERBS.iter().filter(|row| row.takes(clause));
        let verbs: Vec<String> = verbs.map(|row| format!("`{}`", row.words)).collect();
        let mistake = Mistake::new(format!("`{}` does not take {what}", self.verb.words))
            .help(format!("{what} goes with {}", verbs.join(", ")));
        Some(Problem { clause, mistake })
    }
}
