//! The parts of verbs, as far as a text has told them.

use std::time::Duration;

use super::Row;
use crate::{
    mistake::{Clause, Problem},
    model::{Call, Distribution, DnsAnswer, Latency, Probability, Spread, WeightedErrno},
    value::spread::spread,
};

/// The clauses that are parts of verbs, as people are told of them.
pub(crate) const PARTS: [(Clause, &str); 11] = [
    (Clause::Calls, "a system call"),
    (Clause::With, "`with`"),
    (Clause::Name, "a DNS name"),
    (Clause::By, "a duration"),
    (Clause::Rate, "a rate"),
    (Clause::Queue, "`queue`"),
    (Clause::PerFlow, "`per flow`"),
    (Clause::Jitter, "`jitter`"),
    (Clause::Distribution, "a distribution"),
    (Clause::Correlation, "a correlation"),
    (Clause::Silent, "`silent`"),
];

/// All are optional, and need not go with one verb: its row asks for those that it needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub calls: Option<Vec<Call>>,
    pub errnos: Option<Vec<WeightedErrno>>,
    pub answer: Option<DnsAnswer>,
    pub name: Option<String>,
    pub by: Option<Duration>,
    /// In place of `by`: a list of latencies, or a file of them.
    pub several: Option<Spread>,
    pub offset_ns: Option<i128>,
    pub rate: Option<u64>,
    pub queue: Option<Duration>,
    pub per_flow: bool,
    pub jitter: Option<Duration>,
    pub distribution: Option<Distribution>,
    pub correlation: Option<Probability>,
    pub silent: bool,
}

impl Parts {
    /// How long the verb of this row holds something.
    pub fn latency(&mut self, row: &Row) -> Result<Latency, Problem> {
        let spread = spread(self.by, self.several.take(), self.jitter, self.distribution)?
            .ok_or_else(|| row.lacks("to know how long"))?;
        Ok(Latency { spread, correlation: self.correlation })
    }
}
