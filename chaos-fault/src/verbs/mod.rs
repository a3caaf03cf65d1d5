//! The verbs, a row each. Whatever tells verbs apart in the language asks their rows.

mod corrupt;
mod delay;
mod delay_dns;
mod drop;
mod duplicate;
mod fail;
mod fail_dns;
mod kill;
mod kill_container;
mod limit;
mod parts;
mod reorder;
mod reset;
mod row;
mod skew_clock;
mod slow;

pub(super) use parts::{PARTS, Parts};
pub(super) use row::{Amount, Row, Subject};

use super::model::{Call, Verb};

/// In the order in which people are told of them.
pub(super) static VERBS: &[&Row] = &[
    &drop::ROW,
    &corrupt::ROW,
    &delay::ROW,
    &delay_dns::ROW,
    &duplicate::ROW,
    &reorder::ROW,
    &limit::ROW,
    &reset::ROW,
    &fail::ROW,
    &fail_dns::ROW,
    &slow::ROW,
    &kill::ROW,
    &kill_container::ROW,
    &skew_clock::ROW,
];

/// What people are told of a verb.
#[derive(Debug, Clone)]
pub struct VerbSummary {
    /// The words that a sentence begins with.
    pub words: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// A sentence of the language that shows it.
    pub example: &'static str,
    /// A plain fault for each way that it is done in.
    pub samples: &'static [&'static str],
    /// What it is done to: `packets`, `calls`.
    pub subject: &'static str,
    /// What it breaks stays broken when the fault ends.
    pub is_destructive: bool,
    /// Its parts, in words, beside the clauses that all verbs with this subject have.
    pub parts: Vec<&'static str>,
}

/// All verbs, in the order in which people are told of them.
pub fn verbs() -> impl Iterator<Item = VerbSummary> {
    VERBS.iter().map(|row| {
        let Row { words, summary, example, samples, subject, is_destructive, .. } = **row;
        let parts = PARTS.iter().filter(|(clause, _)| row.takes(*clause));
        let parts = parts.map(|(_, words)| *words).collect();
        let subject = subject.words();
        VerbSummary { words, summary, example, samples, subject, is_destructive, parts }
    })
}

/// Something of each verb, once where verbs beside each other share it.
pub(super) fn each(what: fn(&Row) -> &'static str) -> Vec<&'static str> {
    let mut all: Vec<_> = VERBS.iter().map(|row| what(row)).collect();
    all.dedup();
    all
}

/// Calls as a sentence names them.
fn names(calls: &[Call]) -> String {
    calls.iter().map(Call::name).collect::<Vec<_>>().join(", ")
}

impl Verb {
    pub(super) fn row(&self) -> &'static Row {
        match self {
            Self::Drop => &drop::ROW,
            Self::Corrupt { .. } => &corrupt::ROW,
            Self::Delay(_) => &delay::ROW,
            Self::DelayDns { .. } => &delay_dns::ROW,
            Self::Duplicate => &duplicate::ROW,
            Self::Reorder { .. } => &reorder::ROW,
            Self::Limit { .. } => &limit::ROW,
            Self::Reset => &reset::ROW,
            Self::Fail { .. } => &fail::ROW,
            Self::FailDns { .. } => &fail_dns::ROW,
            Self::Slow { .. } => &slow::ROW,
            Self::Kill { .. } => &kill::ROW,
            Self::KillContainer => &kill_container::ROW,
            Self::SkewClock { .. } => &skew_clock::ROW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn each_row_is_that_of_its_example_and_its_samples() {
        for row in VERBS {
            let sentences = parse(row.example).unwrap();
            let [sentence] = &sentences[..] else { panic!("{}: one sentence", row.example) };
            assert!(std::ptr::eq(sentence.fault.verb.row(), *row), "{}", row.words);
            assert!(row.example.starts_with(row.words), "{}", row.words);
            assert!(!row.samples.is_empty(), "{}", row.words);
            for sample in row.samples {
                let sentences = parse(sample).unwrap();
                let [sentence] = &sentences[..] else { panic!("{sample}: one sentence") };
                assert!(std::ptr::eq(sentence.fault.verb.row(), *row), "{sample}");
            }
        }
    }
}
