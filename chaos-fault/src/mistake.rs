//! What is wrong with a fault, before it is known where in the text that stands.

use std::fmt;

use super::suggest::Suggestion;

/// What was wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub message: String,
    help: Option<String>,
    /// The last that finds a word is better than `help`. Looked up only for what is shown.
    suggestions: Vec<Suggestion>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, suggestions: Vec::new() }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Helps with the one of `known` that `word` most likely stands for, if one is near.
    pub(super) fn meant(mut self, word: &str, known: fn() -> Vec<&'static str>) -> Self {
        self.suggestions.extend(Suggestion::new(word, known));
        self
    }

    /// What would be right, where that can be said.
    pub fn remedy(&self) -> Option<String> {
        let suggested = self.suggestions.iter().rev().find_map(Suggestion::did_you_mean);
        suggested.or_else(|| self.help.clone())
    }
}

/// A part of a fault that a mistake can be pinned to. Text has a word for each, YAML a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clause {
    Verb,
    Calls,
    /// `with`: errnos, or the answer of `fail dns`.
    With,
    /// The name that `fail dns` answers for.
    Name,
    /// How long a delay, how far a clock is moved.
    By,
    Rate,
    /// `queue`.
    Queue,
    /// `per flow`.
    PerFlow,
    Jitter,
    Distribution,
    Correlation,
    Silent,
    Chance,
    /// `in bursts of 10`.
    Bursts,
    /// `of packets`, `of flows`, `of calls`.
    Unit,
    Direction,
    Protocol,
    /// `to` or `from`.
    Peer,
    Port,
    /// What is left alone.
    Except,
    Under,
    Container,
    For,
    /// `until TIME`.
    Until,
    After,
    AtMost,
    AtMostPerSecond,
    Seed,
    /// `as NAME`.
    As,
    Guarded,
}

/// A mistake and the part of the fault it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub clause: Clause,
    pub mistake: Mistake,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.remedy().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}
