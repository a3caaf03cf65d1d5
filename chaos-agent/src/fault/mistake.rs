//! What is wrong with a fault, before it is known where in the text that stands.

use std::fmt;

/// What was wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub message: String,
    pub help: Option<String>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
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
    Under,
    Container,
    For,
    After,
    AtMost,
    AtMostPerSecond,
    Seed,
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
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}
