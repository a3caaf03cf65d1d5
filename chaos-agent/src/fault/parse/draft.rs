//! What has been read of a sentence so far.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{Fail, verb::VerbWord};
use crate::fault::{
    mistake::{Clause, Mistake, Problem},
    model::{
        Call, Chance, Distribution, DnsAnswer, Fault, HowOften, Latency, Probability, Spread, Unit,
        Verb, WeightedErrno,
    },
    value::{chance, spread::spread, word},
};

/// The parts of a verb are optional here, and need not go with it; [`Draft::into_fault`] asks
/// for those that it needs and refuses the others.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub verb: VerbWord,
    pub calls: Option<Vec<Call>>,
    pub errnos: Option<Vec<WeightedErrno>>,
    pub answer: Option<DnsAnswer>,
    pub name: Option<String>,
    pub by: Option<Duration>,
    /// In place of `by`: a list of latencies, or a file of them.
    pub several: Option<Spread>,
    pub offset_ns: Option<i128>,
    pub rate: Option<u64>,
    pub per_flow: bool,
    pub jitter: Option<Duration>,
    pub distribution: Option<Distribution>,
    pub correlation: Option<Probability>,
    pub silent: bool,
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
    pub fn new(verb: VerbWord, span: Range<usize>) -> Self {
        Self {
            verb,
            calls: None,
            errnos: None,
            answer: None,
            name: None,
            by: None,
            several: None,
            offset_ns: None,
            rate: None,
            per_flow: false,
            jitter: None,
            distribution: None,
            correlation: None,
            silent: false,
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
        let word = self.verb;
        let missing = |what: &str| lacking(word, what, word.example());
        let latency = || {
            let spread = spread(self.by, self.several, self.jitter, self.distribution)?
                .ok_or_else(|| missing("to know how long"))?;
            Ok(Latency { spread, correlation: self.correlation })
        };
        let verb = match word {
            VerbWord::Drop => Verb::Drop,
            VerbWord::Corrupt => Verb::Corrupt { silent: self.silent },
            VerbWord::Delay => Verb::Delay(latency()?),
            VerbWord::DelayDns => Verb::DelayDns {
                latency: latency()?,
                name: self.name.ok_or_else(|| missing("a name"))?,
            },
            VerbWord::Duplicate => Verb::Duplicate,
            VerbWord::Reorder => {
                Verb::Reorder { by: self.by.ok_or_else(|| missing("to know by how much"))? }
            }
            VerbWord::Limit => Verb::Limit {
                bits_per_second: self.rate.ok_or_else(|| missing("a rate"))?,
                per_flow: self.per_flow,
            },
            VerbWord::Reset => Verb::Reset,
            VerbWord::Fail => match (self.calls, self.errnos) {
                (Some(calls), Some(errnos)) => Verb::Fail { calls, errnos },
                (Some(calls), None) => {
                    return Err(missing_errno(&calls));
                }
                (None, Some(errnos)) => return Err(missing_call(&errnos)),
                (None, None) => return Err(missing("a system call")),
            },
            VerbWord::FailDns => Verb::FailDns {
                answer: self.answer.ok_or_else(|| missing("an answer"))?,
                name: self.name.ok_or_else(|| missing("a name"))?,
            },
            VerbWord::Slow => Verb::Slow {
                by: match (&self.calls, self.by) {
                    (Some(calls), None) => return Err(missing_slowness(calls)),
                    (_, by) => by.unwrap_or_default(),
                },
                calls: self.calls.ok_or_else(|| missing("a system call"))?,
                jitter: self.jitter,
            },
            VerbWord::Kill => {
                Verb::Kill { calls: self.calls.ok_or_else(|| missing("a system call"))? }
            }
            VerbWord::SkewClock => Verb::SkewClock {
                offset_ns: self.offset_ns.ok_or_else(|| missing("to know how far"))?,
            },
        };
        let of = self.unit.unwrap_or(verb.default_unit());
        let how = chance::in_bursts(self.how, self.bursts)
            .map_err(|mistake| Problem { clause: Clause::Bursts, mistake })?;
        Ok(Fault { verb, chance: Chance { how, of }, ..self.clauses })
    }

    /// The first part that another verb would have needed.
    fn misplaced(&self) -> Option<Problem> {
        use VerbWord::{
            Corrupt, Delay, DelayDns, Fail, FailDns, Kill, Limit, Reorder, SkewClock, Slow,
        };
        let parts: [(Clause, &str, &[VerbWord]); 10] = [
            (Clause::Calls, "a system call", &[Fail, Slow, Kill]),
            (Clause::With, "`with`", &[Fail, FailDns]),
            (Clause::Name, "a DNS name", &[FailDns, DelayDns]),
            (Clause::By, "a duration", &[Delay, DelayDns, Reorder, Slow, SkewClock]),
            (Clause::Rate, "a rate", &[Limit]),
            (Clause::PerFlow, "`per flow`", &[Limit]),
            (Clause::Jitter, "`jitter`", &[Delay, DelayDns, Slow]),
            (Clause::Distribution, "a distribution", &[Delay, DelayDns]),
            (Clause::Correlation, "a correlation", &[Delay, DelayDns]),
            (Clause::Silent, "`silent`", &[Corrupt]),
        ];
        let (clause, what, verbs) = parts
            .into_iter()
            .find(|(clause, _, verbs)| self.has(*clause) && !verbs.contains(&self.verb))?;
        let verbs: Vec<String> = verbs.iter().map(|verb| format!("`{}`", verb.text())).collect();
        let mistake = Mistake::new(format!("`{}` does not take {what}", self.verb.text()))
            .help(format!("{what} goes with {}", verbs.join(", ")));
        Some(Problem { clause, mistake })
    }
}

/// A verb without one of its parts.
fn lacking(verb: VerbWord, what: &str, help: String) -> Problem {
    let mistake = Mistake::new(format!("`{}` needs {what}", verb.text())).help(help);
    Problem { clause: Clause::Verb, mistake }
}

/// Shows the calls as they were written with an errno that the first of them fails with in the field.
fn missing_errno(calls: &[Call]) -> Problem {
    let errno = calls.first().map_or("EIO", Call::usual_errno);
    let help = format!("for example `fail {} with {errno}`", names(calls));
    lacking(VerbWord::Fail, "an errno", help)
}

/// Shows the errnos as they were written with a call that fails with the first of them in the field.
fn missing_call(errnos: &[WeightedErrno]) -> Problem {
    let call = errnos.first().and_then(|choice| Call::usually_failing(choice.errno));
    let written: Vec<String> = errnos.iter().copied().map(word::print_weighted_errno).collect();
    let help =
        format!("for example `fail {} with {}`", call.unwrap_or("openat"), written.join(", "));
    lacking(VerbWord::Fail, "a system call", help)
}

fn missing_slowness(calls: &[Call]) -> Problem {
    let help = format!("for example `slow {} by 50ms`", names(calls));
    lacking(VerbWord::Slow, "to know by how much", help)
}

fn names(calls: &[Call]) -> String {
    calls.iter().map(Call::name).collect::<Vec<_>>().join(", ")
}
