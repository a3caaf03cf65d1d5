//! What a row of the table of verbs holds.

use std::fmt::{self, Formatter};

use serde_saphyr::Location;

use super::Parts;
use crate::{
    check::Problems,
    mistake::{Clause, Mistake, Problem},
    model::Verb,
    yaml::{Builder, Form},
};

/// A verb of the language. Parser, printer, YAML reader and writer, checks and help go by it.
pub(crate) struct Row {
    /// The words that a sentence begins with, one or two.
    pub words: &'static str,
    /// Its field in YAML.
    pub field: &'static str,
    /// What other tools call it, for a hint.
    pub synonyms: &'static [&'static str],
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// A sentence of the language that shows it.
    pub example: &'static str,
    /// A plain fault for each way that it is done in: what kernels can do is shown by these.
    pub samples: &'static [&'static str],
    pub subject: Subject,
    /// What it breaks stays broken when the fault ends.
    pub is_destructive: bool,
    /// The clauses that are parts of it. What all verbs can have is not among them.
    pub parts: &'static [Clause],
    /// What it is measured in, right behind its words or behind `by`.
    pub amount: Amount,
    /// The verb of these parts, of which some may be missing.
    pub build: fn(Parts) -> Result<Verb, Problem>,
    /// What a sentence has behind the first word. Other verbs print nothing.
    pub print: fn(&Verb, &mut Formatter<'_>) -> fmt::Result,
    /// Where its field stands, if it is there.
    pub place: fn(&Form) -> Option<Location>,
    /// The verb of the field; `None` where that is not there, or a part is wrong.
    pub read: fn(&mut Builder, &Form) -> Option<Verb>,
    /// Writes the field. Other verbs write nothing.
    pub write: fn(&Verb, &mut Form),
    /// What its parts demand of each other.
    pub check: fn(&Verb, &mut Problems),
}

/// What an event is, to which something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Packets,
    /// Packets with questions of the DNS.
    Dns,
    Calls,
    /// A process as a whole.
    Process,
    /// A container as a whole, once.
    Container,
}

impl Subject {
    pub fn words(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Dns => "questions of the DNS",
            Self::Calls => "calls",
            Self::Process => "processes",
            Self::Container => "containers",
        }
    }
}

/// What a verb is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Nothing,
    Duration,
    /// A duration, or a list of some with weights.
    Latencies,
    Rate,
    /// A duration with a sign.
    Offset,
}

impl Row {
    /// The word that a sentence begins with.
    pub fn first_word(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or(self.words)
    }

    /// The second word of those that have two.
    pub fn second_word(&self) -> Option<&'static str> {
        self.words.split_once(' ').map(|(_, second)| second)
    }

    pub fn takes(&self, clause: Clause) -> bool {
        self.parts.contains(&clause)
    }

    /// Help that shows a whole sentence.
    pub fn help(&self) -> String {
        format!("for example `{}`", self.example)
    }

    /// The verb stands without one of its parts.
    pub fn lacks(&self, what: &str) -> Problem {
        self.lacks_with_help(what, self.help())
    }

    pub fn lacks_with_help(&self, what: &str, help: String) -> Problem {
        let mistake = Mistake::new(format!("`{}` needs {what}", self.words)).help(help);
        Problem { clause: Clause::Verb, mistake }
    }
}
